export const curves: Record<string, any> = {};
