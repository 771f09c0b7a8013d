// The live form of an execution: HTML fragments come from the kernel, already safe, for named slots.
//
// In:  {k: "all", for, n, html}   everything, for the view that said hello, or "*"
//      {k: "ops", n, ops}         [["put" | "add" | "txt", slot, value], …], numbered without gaps
//      {k: "end", for, id, data}  what to put in place of the output with the widget of that id, by MIME type
//      {k: "ack"}                 Stop was heard
// Out: {k: "hello", me} {k: "stands"} {k: "stop"} {k: "answer", call, ok, always, fields} {k: "resume", fields} {k: "open", d, open}

const PATIENCE = 500; // ms for the kernel to acknowledge Stop, before it is interrupted instead
const WIDGET = "application/vnd.jupyter.widget-view+json";
const BLOCK = /^(P|UL|OL|LI|PRE|BLOCKQUOTE|H[1-6])$/;

// Text that is added between two renderings of an unfinished block belongs at the end of its last line.
function lastLine(node) {
  for (;;) {
    const child = node.lastElementChild;
    if (!child || (child.nextSibling && child.nextSibling.data.trim())) return node;
    if (!BLOCK.test(child.tagName) && !(child.tagName === "CODE" && node.tagName === "PRE")) return node;
    node = child;
  }
}

function addText(slot, text) {
  const line = lastLine(slot);
  if (line.lastChild instanceof Text) line.lastChild.appendData(text);
  else line.append(text);
}

// What a reader unfolded stays unfolded.
function put(slot, html) {
  const open = new Map([...slot.querySelectorAll("details[data-d]")].map((d) => [d.dataset.d, d.open]));
  slot.innerHTML = html;
  for (const d of slot.querySelectorAll("details[data-d]")) {
    if (open.has(d.dataset.d)) d.open = open.get(d.dataset.d);
  }
}

// In JupyterLab and Notebook 7 the widgets' manager knows the notebook. Says whether the output was there.
function replaceOutput(model, { id, data }) {
  for (const cell of model.widget_manager?.context?.model?.cells ?? []) {
    for (let at = 0; at < (cell.outputs?.length ?? 0); at += 1) {
      if (cell.outputs.get(at).data[WIDGET]?.model_id !== id) continue;
      cell.outputs.set(at, { output_type: "display_data", data, metadata: {} });
      return true;
    }
  }
  return false;
}

// Mathematics in an answer stands in elements of this class, in one that the front end's typesetter leaves alone.
function typeset(model, node) {
  if (node.querySelector(".mathjax_process")) model.widget_manager?._rendermime?.latexTypesetter?.typeset(node);
}

// A question takes the focus, unless its reader is writing something. A fault takes it to its field.
function offer(slot) {
  if (!slot.querySelector(".answer") || document.activeElement?.matches("input, textarea, :read-write")) return;
  const first = slot.querySelector(".answer [aria-invalid]") ?? slot.querySelector(".answer > button");
  first.focus();
}

// JupyterLab lets no field in a cell begin a new line (`evtKeydown` of @jupyterlab/application), so this does.
function breakLine(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || !event.target.matches("textarea")) return;
  event.preventDefault();
  document.execCommand("insertText", false, "\n");
}

function fieldsOf(answer) {
  const fields = [...answer.querySelectorAll("[data-f]")];
  return Object.fromEntries(fields.map((f) => [f.dataset.f, f.type === "checkbox" ? f.checked : f.value]));
}

function changedIn(answer) {
  const changed = [...answer.querySelectorAll("textarea[data-f]")].filter((f) => f.value !== f.defaultValue);
  return Object.fromEntries(changed.map((f) => [f.dataset.f, f.value]));
}

const OPS = { put, txt: addText, add: (slot, html) => slot.insertAdjacentHTML("beforeend", html) };

function seconds(value) {
  if (value < 99.95) return `${value.toFixed(1)} s`;
  const whole = Math.round(value);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

function render({ model, el }) {
  const me = Math.random().toString(36).slice(2);
  let expected = null; // the number of the next message; null until everything has come
  let impatience;
  let clock = null;

  const hello = () => {
    expected = null;
    model.send({ k: "hello", me });
  };

  const tick = () => {
    const time = el.querySelector("time[data-t]");
    if (!time) return;
    if (clock?.node !== time) clock = { node: time, start: performance.now() - 1000 * time.dataset.t };
    time.textContent = seconds((performance.now() - clock.start) / 1000);
  };

  const hear = (message) => {
    if (message.k === "ack") {
      clearTimeout(impatience);
    } else if (message.k === "all" && [me, "*"].includes(message.for)) {
      if (expected === message.n + 1) return; // it stands here, and what a reader is about to press with it
      put(el, message.html);
      offer(el);
      typeset(model, el);
      expected = message.n + 1;
    } else if (message.k === "end" && [me, "*"].includes(message.for)) {
      if (replaceOutput(model, message)) return;
      put(el, message.data["text/html"]);
      typeset(model, el);
      model.send({ k: "stands" });
    } else if (message.k === "ops" && expected !== null) {
      if (message.n !== expected) return hello();
      expected += 1;
      for (const [op, name, value] of message.ops) {
        const slot = el.querySelector(`[data-s="${name}"]`);
        if (slot) OPS[op](slot, value);
        if (slot && op !== "txt") offer(slot);
        // What still grows would be typeset anew with each of its words.
        if (slot && !("grows" in slot.dataset)) typeset(model, slot);
      }
    }
  };

  const click = (event) => {
    const button = event.target.closest("button[data-do]");
    if (!button) return;
    const [action, call] = button.dataset.do.split(":");
    if (!["edit", "edited"].includes(action)) button.disabled = true;
    if (action === "stop") {
      button.textContent = "Stopping…";
      impatience = setTimeout(() => model.widget_manager?.kernel?.interrupt(), PATIENCE);
      model.send({ k: "stop" });
    } else if (action === "on" || action === "edited") {
      model.send({ k: "resume", fields: action === "edited" ? changedIn(button.closest(".answer")) : {} });
    } else {
      const fields = action === "edit" ? fieldsOf(button.closest(".answer")) : null;
      model.send({ k: "answer", call, ok: action !== "no", always: action === "always", fields });
    }
  };

  // In a question: Enter in a field gives its answer, in one of several lines with Ctrl; Escape leaves the form, or says no.
  const key = (event) => {
    const answer = event.target.closest?.(".answer");
    if (!answer) return;
    const form = answer.querySelector("details");
    const gives = event.target.matches((event.ctrlKey || event.metaKey) ? "textarea" : "input");
    if (event.key === "Enter" && gives) {
      answer.querySelector("[data-do^='edit']").click();
    } else if (event.key === "Enter") {
      breakLine(event);
    } else if (event.key === "Escape" && form?.open) {
      form.open = false;
      answer.querySelector("button").focus();
    } else if (event.key === "Escape") {
      answer.querySelector("[data-do^='no:']")?.click();
    }
  };

  const toggle = (event) => {
    const { d } = event.target.dataset;
    if (d) model.send({ k: "open", d, open: event.target.open });
  };

  el.classList.add("jp-RenderedHTMLCommon");
  el.addEventListener("click", click);
  el.addEventListener("keydown", key);
  el.addEventListener("toggle", toggle, true);
  model.on("msg:custom", hear);
  const timer = setInterval(tick, 100);
  hello();
  return () => {
    clearInterval(timer);
    model.off("msg:custom", hear);
  };
}

export default { render };
