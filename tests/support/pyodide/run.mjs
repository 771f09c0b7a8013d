// Runs Python in Pyodide: node run.mjs PLACE SOURCE CODE
// PLACE is what install.sh filled, SOURCE the folder whose modules CODE imports.
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [place, source, code] = process.argv.slice(2);
const { loadPyodide } = await import(pathToFileURL(join(place, "node_modules/pyodide/pyodide.mjs")));
const pyodide = await loadPyodide();
const mount = (root, at) => {
  pyodide.FS.mkdir(at);
  pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root }, at);
};
mount(join(place, "site"), "/site");
mount(source, "/source");
try {
  await pyodide.runPythonAsync(`import sys; sys.path[:0] = ["/source", "/site"]; sys.dont_write_bytecode = True`);
  await pyodide.runPythonAsync(code);
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
