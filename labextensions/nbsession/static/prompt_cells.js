// A cell that begins with %%session is coloured and indented as Markdown, not as Python, in JupyterLab 4 and Notebook 7.
//
// Loaded as it stands: a module-federation container, of which JupyterLab asks no more than init() and get()
// (https://jupyterlab.readthedocs.io/en/stable/extension/extension_dev.html, "prebuilt extensions").

(() => {
  const MAGIC = "%%session";
  const MARKDOWN = "text/x-ipythongfm"; // JupyterLab's own name of what Markdown cells are

  // The kernel's transformer allows blank lines and comments before the magic, and so must this.
  function isPrompt(source) {
    for (const line of source.split("\n", 50)) {
      const text = line.trim();
      if (text && !text.startsWith("#")) return text.split(/\s/, 1)[0] === MAGIC;
    }
    return false;
  }

  // The notebook gives all its cells the kernel's language anew whenever a kernel comes: say it again then. An editor
  // takes the language that was loaded last, so the one that is being loaded has to be there first.
  function watch(cell, notebook, languages) {
    if (cell.type !== "code") return;
    const settle = async () => {
      await languages.getLanguage(cell.mimeType);
      const prompt = isPrompt(cell.sharedModel.getSource());
      if (prompt && cell.mimeType !== MARKDOWN) cell.mimeType = MARKDOWN;
      else if (!prompt && cell.mimeType === MARKDOWN) cell.mimeType = notebook.codeMimetype;
    };
    cell.contentChanged.connect(settle);
    cell.mimeTypeChanged.connect(settle);
    settle();
  }

  function activate(app, tracker, languages) {
    const watchAll = (notebook) => {
      const cells = notebook.model?.cells;
      if (!cells) return;
      for (const cell of cells) watch(cell, notebook, languages);
      cells.changed.connect((_, change) => {
        if (change.type !== "remove") for (const cell of change.newValues) watch(cell, notebook, languages);
      });
    };
    const open = (panel) => {
      watchAll(panel.content);
      panel.content.modelChanged.connect(watchAll);
    };
    tracker.forEach(open);
    tracker.widgetAdded.connect((_, panel) => open(panel));
  }

  let shared = {};

  // What the page itself has loaded, not another extension's copy: a token is recognised by its identity.
  async function module(name) {
    const versions = Object.values(shared[name] ?? {});
    const found = versions.find((version) => version.loaded) ?? versions[0];
    if (!found) throw new Error(`nbsession: this page has no ${name}`);
    return (await found.get())();
  }

  async function plugin() {
    const { INotebookTracker } = await module("@jupyterlab/notebook");
    const { IEditorLanguageRegistry } = await module("@jupyterlab/codemirror");
    const requires = [INotebookTracker, IEditorLanguageRegistry];
    return { id: "nbsession:prompt-cells", autoStart: true, requires, activate };
  }

  globalThis._JUPYTERLAB ??= {};
  globalThis._JUPYTERLAB.nbsession = {
    init(scope) {
      shared = scope;
    },
    async get() {
      const found = await plugin();
      return () => found;
    },
  };
})();
