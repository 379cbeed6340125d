import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { defineConfig } from "vitepress";

const root = fileURLToPath(new URL("../../../", import.meta.url));
const { version } = JSON.parse(readFileSync(`${root}deno.json`, "utf8"));
const repository = "https://github.com/aperture/atomic";

export default defineConfig({
  title: "@aperture/atomic",
  description: "Atomic file writes and crash-safe directory locks for Deno, Node.js and Bun.",
  base: process.env.SITE_BASE ?? "/atomic/",
  cleanUrls: true,
  head: [["link", { rel: "icon", type: "image/svg+xml", href: icon("⚛") }]],
  // Combines the pages in docs/ with the API reference that scripts/site.ts generates.
  srcDir: root,
  srcExclude: ["!(docs|scripts)/**", "*.md", "scripts/!(site)/**", "scripts/*.md"],
  rewrites: {
    "docs/:rest*": ":rest*",
    "scripts/site/api/:rest*": "api/:rest*",
  },
  outDir: "./.vitepress/dist",
  cacheDir: "./.vitepress/cache",
  markdown: {
    anchor: { slugify },
    languageAlias: { gitignore: "ini" },
    config(markdown) {
      renderMermaid(markdown);
      linkToRepository(markdown);
    },
  },
  themeConfig: {
    nav: [
      { text: "Guides", link: "/guides/json-settings" },
      { text: "API", link: "/api/" },
      { text: version, link: `${repository}/blob/main/CHANGELOG.md` },
    ],
    outline: [2, 3],
    search: {
      provider: "local",
      options: {
        miniSearch: {
          searchOptions: {
            // Someone who searches for an error code wants its explanation before the API.
            boostDocument: (page) =>
              page.includes("troubleshooting") ? 3 : page.includes("/api/") ? 0.3 : 1,
          },
        },
      },
    },
    socialLinks: [{ icon: "github", link: repository }],
    sidebar: [
      section("Start", {
        "I want to …": "/",
        "Guarantees": "/guarantees",
        "Troubleshooting": "/troubleshooting",
        "The command": "/cli",
        "Comparison": "/comparison",
        "Performance": "/performance",
        "Non-goals": "/non-goals",
      }),
      section("Concepts", {
        "Lost updates": "/concepts/lost-updates",
        "Lifecycle of a write": "/concepts/life-of-a-write",
        "Kernel locks": "/concepts/kernel-locks",
      }),
      section("Guides", {
        "JSON settings": "/guides/json-settings",
        "One instance only": "/guides/one-instance",
        "Streams and downloads": "/guides/streams",
        "Sharded stores": "/guides/sharded-stores",
        "Watching files": "/guides/watching",
        "Containers": "/guides/containers",
        "Electron, Jest, bundlers": "/guides/electron-jest-bundlers",
        "Next.js and other frameworks": "/guides/frameworks",
      }),
      section("Migrate", {
        "From 0.2 to 0.3": "/migrate/0.2-to-0.3",
        "From temp-and-rename": "/migrate/from-temp-and-rename",
        "From write-file-atomic": "/migrate/from-write-file-atomic",
        "From atomically": "/migrate/from-atomically",
        "From proper-lockfile": "/migrate/from-proper-lockfile",
        "From lockfile": "/migrate/from-lockfile",
        "From flock(1)": "/migrate/from-flock",
      }),
      section("Platforms", {
        "Systems and file systems": "/platforms/",
        "Several machines": "/platforms/several-machines",
        "Power cuts": "/platforms/power-cuts",
      }),
      {
        text: "API",
        link: "/api/",
        collapsed: true,
        items: ["mod/functions", "mod/classes", "json/functions"].flatMap(apiPages),
      },
    ],
  },
  vite: {
    plugins: [vueOfThisFolder()],
    // Mermaid is one large chunk that only pages with diagrams load.
    build: { chunkSizeWarningLimit: 4_000 },
    publicDir: false,
  },
});

function section(text, pages) {
  return { text, items: Object.entries(pages).map(([text, link]) => ({ text, link })) };
}

/** The pages in a folder of the API reference. */
function apiPages(folder) {
  const dir = `${root}scripts/site/api/${folder}`;
  return readdirSync(dir).sort().map((name) => {
    const text = name.replace(".md", "");
    return { text, link: `/api/${folder}/${text}` };
  });
}

function icon(character) {
  const text = `<text y="0.9em" font-size="90">${character}</text>`;
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 100 100">${text}</svg>`;
  return `data:image/svg+xml,${encodeURIComponent(svg)}`;
}

/** The anchors that GitHub generates for headings, so that links work in both places. */
function slugify(heading) {
  return heading.trim().toLowerCase().replace(/[^\p{L}\p{N}\p{M}_\- ]/gu, "").replaceAll(" ", "-");
}

/** Turns ```mermaid blocks into the component that draws them in the browser. */
function renderMermaid(markdown) {
  const { fence } = markdown.renderer.rules;
  markdown.renderer.rules.fence = (tokens, index, options, env, self) => {
    const { info, content } = tokens[index];
    if (info.trim() !== "mermaid") return fence(tokens, index, options, env, self);
    return `<Mermaid code="${encodeURIComponent(content)}" />`;
  };
}

/** If a link leads to a repository file that is not a page, makes it point to GitHub. */
function linkToRepository(markdown) {
  markdown.core.ruler.push("repository-links", ({ env, tokens }) => {
    const page = `docs/${env.path.slice(root.length)}`;
    for (const token of tokens.flatMap(({ children }) => children ?? [])) {
      const href = token.attrGet?.("href");
      if (token.type !== "link_open" || !href || /^(?:[a-z]+:|#|\/)/.test(href)) continue;
      const file = new URL(href, `file:///${page}`).pathname.slice(1);
      if (file.startsWith("docs/")) continue;
      if (!existsSync(root + file)) throw new Error(`${page}: ${href} leads nowhere`);
      token.attrSet("href", `${repository}/blob/main/${file}`);
    }
  });
}

/** The pages are outside this folder, so Vite would not find Vue from there. */
function vueOfThisFolder() {
  return {
    name: "vue-of-this-folder",
    enforce: "pre",
    resolveId(id, _importer, options) {
      if (!/^vue(?:\/|$)/.test(id)) return;
      return this.resolve(id, fileURLToPath(import.meta.url), { ...options, skipSelf: true });
    },
  };
}
