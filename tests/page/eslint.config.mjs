import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import js from "@eslint/js";
import globals from "globals";

const folder = fileURLToPath(new URL("../../profiler/pystack_profiler/exporters/flame_page/", import.meta.url));
// The scripts are put into one page, one after the other: a name of one is known in all.
const names = readdirSync(folder)
  .filter((name) => name.endsWith(".js"))
  .flatMap((name) => [...readFileSync(folder + name, "utf-8").matchAll(/^(?:async )?(?:class|function\*?|const|let) (\w+)/gm)])
  .map((match) => match[1]);

export default [
  { ignores: ["node_modules/"] },
  js.configs.recommended,
  {
    files: ["**/flame_page/*.js"],
    languageOptions: {
      sourceType: "script",
      globals: { ...globals.browser, ...Object.fromEntries(names.map((name) => [name, "readonly"])) },
    },
    rules: {
      "no-redeclare": ["error", { builtinGlobals: false }],
      "no-unused-vars": ["error", { vars: "local" }],
      eqeqeq: "error",
      "no-var": "error",
      "prefer-const": "error",
      "no-implicit-globals": "off",
    },
  },
  { files: ["**/*.mjs"], languageOptions: { globals: globals.node } },
];
