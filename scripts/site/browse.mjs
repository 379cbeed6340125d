// Opens the built site in headless Chromium: node scripts/site/browse.mjs [SCREENSHOTS]
// Prints one line of JSON for each check: { name, error? }. Saves screenshots to the SCREENSHOTS
// directory, if specified.
import { existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createRequire } from "node:module";
import { extname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const { chromium } = createRequire(import.meta.url)("playwright-core");
const BASE = "/atomic/";
const PHONE = { width: 390, height: 844 };
const DESKTOP = { width: 1280, height: 800 };
const dist = fileURLToPath(new URL(".vitepress/dist/", import.meta.url));
const shots = process.argv[2];
const types = {
  ".html": "text/html",
  ".css": "text/css",
  ".js": "text/javascript",
  ".svg": "image/svg+xml",
  ".woff2": "font/woff2",
};

const server = createServer(({ url }, response) => {
  const name = decodeURIComponent(new URL(url, "http://localhost").pathname).slice(BASE.length);
  const file = [name, `${name}.html`, `${name}index.html`]
    .find((name) => extname(name) !== "" && existsSync(join(dist, name)));
  if (file === undefined) return void response.writeHead(404).end();
  response.writeHead(200, { "content-type": types[extname(file)] ?? "application/octet-stream" });
  response.end(readFileSync(join(dist, file)));
});
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const origin = `http://127.0.0.1:${server.address().port}${BASE}`;

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const context = await browser.newContext({ viewport: DESKTOP });
const page = await context.newPage();
const problems = [];
page.on("console", (message) => {
  if (message.type() === "error") problems.push(message.text());
});
page.on("pageerror", (error) => problems.push(String(error)));
page.on("response", (response) => {
  if (response.status() >= 400) problems.push(`${response.status()} ${response.url()}`);
});

const pages = readdirSync(dist, { recursive: true })
  .filter((name) => name.endsWith(".html") && name !== "404.html")
  .map((name) => name.replace(/(?:index)?\.html$/, "").replace(/^index$/, "")).sort();

await check(`${pages.length} pages load without errors in the console`, async () => {
  if (pages.length < 30) throw new Error(`There are only ${pages.length} pages`);
  for (const name of pages) {
    await open(name);
    if (await page.locator(".vp-doc h1, .VPHero").count() !== 1) problems.push("It has no heading");
    fail(name);
  }
});
await check("no page is wider than a phone", async () => {
  await page.setViewportSize(PHONE);
  for (const name of pages) {
    await open(name);
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    if (width > PHONE.width) problems.push(`It is ${width} px wide`);
    fail(name);
  }
  await open("guides/json-settings");
  await shot("phone");
  await page.setViewportSize(DESKTOP);
});
await check("diagrams are rendered", async () => {
  for (const name of pages.filter((name) => name.startsWith("concepts/"))) {
    await open(name);
    const diagrams = page.locator(".mermaid");
    if (await diagrams.count() === 0) problems.push("It has no diagram");
    for (const diagram of await diagrams.all()) {
      await diagram.locator("svg").waitFor({ timeout: 20_000 });
      const { width, height } = await diagram.locator("svg").boundingBox();
      if (width < 100 || height < 50) problems.push(`A diagram has ${width} by ${height} px`);
      if ((await diagram.textContent()).includes("Syntax error")) problems.push("Syntax error");
    }
    fail(name);
  }
  await open("concepts/lost-updates");
  await page.locator(".mermaid svg").first().waitFor();
  await page.locator("#with-the-lock").scrollIntoViewIfNeeded();
  await shot("diagram");
});
await check("the search finds EBUSY", async () => {
  await open("");
  await page.locator(".VPNavBarSearch button").click();
  await page.locator(".VPLocalSearchBox input").fill("EBUSY");
  const first = page.locator(".VPLocalSearchBox .result").first();
  await first.waitFor({ timeout: 20_000 });
  await page.waitForTimeout(500); // Excerpts load after the results.
  await shot("search");
  await first.click();
  await page.waitForURL((url) => url.pathname.length > BASE.length);
  if (!(await page.locator(".vp-doc").textContent()).includes("EBUSY")) {
    throw new Error(`${page.url()} does not mention EBUSY`);
  }
});
await check("there is a dark and a light appearance", async () => {
  const background = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const colors = [];
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await open("guarantees");
    colors.push(await background());
    await shot(`guarantees-${colorScheme}`);
  }
  if (colors[0] === colors[1]) throw new Error(`Both are ${colors[0]}`);
  await page.emulateMedia({ colorScheme: "light" });
});
for (
  const name of shots === undefined
    ? []
    : ["", "guides/containers", "api/mod/functions/atomicWrite"]
) {
  await open(name);
  await shot(name.replaceAll("/", "-") || "start");
}
await browser.close();
server.close();

async function open(name) {
  problems.length = 0;
  await page.goto(origin + name, { waitUntil: "load" });
}

function fail(name) {
  if (problems.length > 0) throw new Error(`/${name}: ${problems.join("; ")}`);
}

async function check(name, run) {
  const error = await run().then(() => undefined, (error) => String(error));
  console.log(JSON.stringify({ name, error }));
}

async function shot(name) {
  if (shots === undefined) return;
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: join(shots, `${name}.png`) });
}
