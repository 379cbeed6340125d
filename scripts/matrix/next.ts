// Builds a Next.js application that writes and locks during a request, with Next 15 and 16, and
// sends a request to its standalone server: deno run -A scripts/matrix/next.ts

import * as fs from "node:fs";
import { packageJson } from "../lib/package.ts";
import { Project } from "../lib/project.ts";
import { setUp } from "../lib/setup.mjs";
import { Checklist, expect } from "../lib/checklist.ts";

setUp();
const steps = new Checklist();
for (const version of ["15.5.29", "16.4.6"]) {
  const project = await Project.create();
  await steps.run(`Next ${version}: next build`, async () => {
    await project.install(`next@${version}`, "react@19", "react-dom@19");
    fs.mkdirSync(`${project.dir}/app/use`, { recursive: true });
    project.write(
      "next.config.mjs",
      `export default {
  output: "standalone",
  outputFileTracingRoot: import.meta.dirname,
  serverExternalPackages: ["${packageJson.name}"],
  // Next.js's file tracing cannot detect that locks load koffi.
  outputFileTracingIncludes: {
    "/**": ["./node_modules/koffi/**", "./node_modules/@koromix/**"],
  },
};
`,
    );
    project.write(
      "app/layout.js",
      "export default ({ children }) => <html><body>{children}</body></html>;",
    );
    project.write(
      "app/use/route.js",
      `import { readFile } from "node:fs/promises";
import { atomicUpdate, atomicWrite, withDirLock } from "${packageJson.name}";

export async function POST() {
  await atomicWrite("data/file", "a", { parents: true });
  await atomicUpdate("data/file", (bytes) => new TextDecoder().decode(bytes) + "b");
  return Response.json(await withDirLock("data", () => readFile("data/file", "utf8")));
}
`,
    );
    const next = "node_modules/next/dist/bin/next";
    await project.run("node", ["--no-warnings", next, "build"]);
  });
  await steps.run(`Next ${version}: the standalone server writes and locks`, async () => {
    const standalone = `${project.dir}/.next/standalone`;
    const away = fs.realpathSync(Deno.makeTempDirSync({ prefix: "aperture-next-" }));
    fs.cpSync(standalone, away, { recursive: true, verbatimSymlinks: true });
    fs.renameSync(`${project.dir}/node_modules`, `${project.dir}/node_modules-away`);
    const port = 20_000 + Math.floor(Math.random() * 20_000);
    const server = new Deno.Command("node", {
      args: ["server.js"],
      cwd: away,
      env: { PORT: String(port), HOSTNAME: "127.0.0.1", NEXT_TELEMETRY_DISABLED: "1" },
      stdout: "piped",
    }).spawn();
    try {
      const output = server.stdout.getReader();
      for (let said = ""; !said.includes("Ready");) {
        const { done, value } = await output.read();
        if (done) throw new Error(`The server ended: ${said}`);
        said += new TextDecoder().decode(value);
      }
      await output.cancel();
      const response = await fetch(`http://127.0.0.1:${port}/use`, { method: "POST" });
      expect([response.status, await response.text()], [200, '"ab"']);
      expect(fs.readFileSync(`${away}/data/file`, "utf8"), "ab");
    } finally {
      server.kill();
      await server.status;
      fs.rmSync(away, { recursive: true });
    }
  });
  project.remove();
}
Deno.exit(steps.end());
