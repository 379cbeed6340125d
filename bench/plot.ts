export async function plot(..._: any[]): Promise<void> {}
