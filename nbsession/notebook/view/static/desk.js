// Brings finished outputs to life: puts buttons beneath the ticks of those that belong to this kernel, and
// asks the kernel what they are for. None of that is saved: it changes the page, never the notebook. What comes to
// stand in an output for good the kernel sends, and it is put there where the page was loaded since.
//
// Where a question waits in one it puts the form to answer it.
//
// In:  {k: "reply", n, html, part}              what to show for request n, or in a part of that; there may be several
//      {k: "put", key, was, data}               what stands in an output now, for a page that was loaded since
//      {k: "told", at, q, html}                 what became of a question in the output that has it
// Out: {k, n, of, o, tick, path, fields, view, q, at, press}
//                                               k: source, fork, edit, compare, send, python, stop, view, question, answer

const ACTS = [
  ["fork", "Fork here"],
  ["edit", "Edit and re-run"],
  ["python", "Copy as Python"],
];

const WIDGET = "application/vnd.jupyter.widget-view+json";

const GONE = new Set(["restarting", "autorestarting", "terminating", "dead"]);

function button(text, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.dataset.act = act;
  made.textContent = text;
  return made;
}

// JupyterLab takes keys for its own elsewhere in an output.
function keepKeys(node) {
  node.dataset.lmSuppressShortcuts = "true";
}

function actsOf(tick) {
  const isFar = "far" in tick.closest(".nbs").dataset;
  const acts = document.createElement("div");
  acts.className = "acts";
  const desk = document.createElement("div");
  desk.className = "desk";
  for (const node of [acts, desk]) keepKeys(node);
  for (const [act, text] of ACTS) {
    if (isFar && act === "edit") continue; // the session is at a server
    const made = button(text, act);
    made.setAttribute("aria-expanded", "false");
    acts.append(made);
  }
  tick.append(acts, desk);
}

function sourceOf(place) {
  const made = button(place.textContent, "source");
  made.className = "src";
  made.dataset.p = place.dataset.p;
  made.title = "Show the source";
  made.setAttribute("aria-expanded", "false");
  keepKeys(made);
  place.replaceWith(made);
}

function placeOf(made) {
  const place = document.createElement("small");
  place.className = "src";
  place.dataset.p = made.dataset.p;
  place.textContent = made.textContent;
  made.replaceWith(place);
}

// The fields of an answer, all of them.
function fieldsOf(answer) {
  const fields = [...answer.querySelectorAll("[data-f]")];
  return Object.fromEntries(fields.map((f) => [f.dataset.f, f.type === "checkbox" ? f.checked : f.value]));
}

// JupyterLab lets no field in a cell begin a new line (`evtKeydown` of @jupyterlab/application), so this does.
function breakLine(event) {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || !event.target.matches("textarea")) return;
  event.preventDefault();
  document.execCommand("insertText", false, "\n");
}

// The fields that the reader changed.
function changed(form) {
  const fields = {};
  for (const field of form.querySelectorAll("[data-f]")) {
    const before = field.tagName === "SELECT" ? "" : field.defaultValue;
    if (field.value !== before) fields[field.dataset.f] = field.value;
  }
  return fields;
}

// In JupyterLab and Notebook 7 the widgets' manager knows the notebook. The page that an output came to shows it already.
function replaceOutput(model, { key, was, data }) {
  const text = (held) => (Array.isArray(held) ? held.join("") : (held ?? ""));
  for (const cell of model.widget_manager?.context?.model?.cells ?? []) {
    for (let at = 0; at < (cell.outputs?.length ?? 0); at += 1) {
      const output = cell.outputs.get(at).data ?? {};
      const held = text(output["text/html"]);
      if (!held.includes(`data-o=${key}`) && (!was || output[WIDGET]?.model_id !== was)) continue;
      if (held !== data["text/html"]) cell.outputs.set(at, { output_type: "display_data", data, metadata: {} });
      return;
    }
  }
}

async function copy(copier) {
  try {
    await navigator.clipboard.writeText(copier.dataset.copy);
    copier.textContent = "Copied";
  } catch {
    copier.textContent = "Select it, and copy"; // no leave, or no secure page
  }
}

function initialize({ model }) {
  const mine = `.nbs[data-x="${model.get("key")}"]`;
  const waiting = new Map(); // where the replies to a request go
  const drafts = new Map(); // what is written in the fields of questions, which may be drawn anew
  let count = 0;
  let begun = false; // whether what stood in the page at first has been gone through
  let planned = false;
  let alive = true;

  const liven = () => {
    planned = false;
    if (!alive) return;
    for (const place of document.querySelectorAll(`${mine} small.src`)) sourceOf(place);
    for (const tick of document.querySelectorAll(`${mine} .tick[data-n]`)) {
      if (!tick.querySelector(":scope > .acts") && !tick.closest(".nbs").querySelector("[data-s]")) actsOf(tick);
    }
    for (const asked of document.querySelectorAll(`${mine} .ask[data-q]`)) {
      if (!asked.querySelector(":scope > .answer")) offer(asked);
    }
    begun = true;
  };
  const plan = () => {
    if (!planned) requestAnimationFrame(liven);
    planned = true;
  };

  const ask = (pressed, where, what) => {
    count += 1;
    waiting.set(count, where);
    const of = pressed.dataset.of ?? pressed.closest(mine).dataset.of;
    const tick = Number(pressed.closest(".tick")?.dataset.n ?? 0);
    model.send({ n: count, of, o: pressed.closest(mine)?.dataset.o, tick, ...what });
  };

  const unfold = (pressed, where, what) => {
    const isOpen = pressed.getAttribute("aria-expanded") === "true";
    for (const other of pressed.parentElement.querySelectorAll("[aria-expanded]")) {
      other.setAttribute("aria-expanded", "false");
    }
    where.replaceChildren();
    if (isOpen) return;
    pressed.setAttribute("aria-expanded", "true");
    ask(pressed, where, what);
  };

  const offer = (asked) => {
    const answer = document.createElement("div");
    answer.className = "answer";
    if (begun) answer.dataset.new = "";
    keepKeys(answer);
    asked.append(answer);
    ask(asked, answer, { k: "question", ...asked.dataset });
  };

  // What was written stays written. A question that has just come takes the focus, unless its reader is writing
  // something; a fault takes it to its field.
  const settle = (answer) => {
    const { q } = answer.parentElement.dataset;
    for (const field of answer.querySelectorAll("[data-f]")) {
      const draft = drafts.get(`${q} ${field.dataset.f}`);
      if (field.type === "checkbox") field.checked = draft ?? field.checked;
      else field.value = draft ?? field.value;
    }
    const wrong = answer.querySelector("[aria-invalid]");
    const busy = document.activeElement?.matches("input, textarea, :read-write, .answer *");
    const isNew = "new" in answer.dataset && !busy;
    delete answer.dataset.new;
    (wrong ?? (isNew ? answer.querySelector("button, input, select, textarea") : null))?.focus();
  };

  const answerWith = (pressed, answer) => {
    for (const each of answer.querySelectorAll("button")) each.disabled = true;
    const what = "press" in pressed.dataset ? { press: pressed.dataset.press } : { fields: fieldsOf(answer) };
    ask(pressed, answer, { k: "answer", ...answer.parentElement.dataset, ...what });
  };

  const write = (event) => {
    const field = event.target;
    const asked = field.closest?.(`${mine} .ask[data-q]`);
    if (!asked || !("f" in field.dataset)) return;
    drafts.set(`${asked.dataset.q} ${field.dataset.f}`, field.type === "checkbox" ? field.checked : field.value);
  };

  // Enter in a field gives its answer, in one of several lines with Ctrl or the command key.
  const key = (event) => {
    if (event.key !== "Enter" || !event.target.closest?.(mine)) return;
    const answer = event.target.closest(".ask[data-q] > .answer");
    const gives = event.target.matches((event.ctrlKey || event.metaKey) ? "textarea" : "input");
    if (!answer || !gives) return breakLine(event);
    event.preventDefault();
    answer.querySelector("button[data-act=answer]:not([data-press])").click();
  };

  const click = (event) => {
    const view = event.target.closest?.(".vs > details > summary")?.parentElement;
    if (view?.closest(mine) && !view.open) {
      ask(view, null, { k: "view", view: view.previousElementSibling ? "tree" : "list" });
    }
    const pressed = event.target.closest?.("button");
    if (!pressed?.closest(mine)) return;
    const { act } = pressed.dataset;
    if (pressed.dataset.copy) {
      copy(pressed);
    } else if (act === "source") {
      let where = pressed.closest("li").querySelector(":scope > .lines");
      if (!where) {
        where = document.createElement("div");
        where.className = "lines";
        pressed.closest("li").append(where);
      }
      unfold(pressed, where, { k: act, path: pressed.dataset.p });
    } else if (pressed.parentElement.matches(".acts")) {
      unfold(pressed, pressed.parentElement.nextElementSibling, { k: act });
    } else if (act === "answer") {
      answerWith(pressed, pressed.closest(".answer"));
    } else if (act === "stop") {
      pressed.disabled = true;
      ask(pressed, null, { k: act });
    } else if (act) {
      const desk = pressed.closest(".desk");
      ask(pressed, desk.querySelector(".out"), { k: act, fields: changed(desk) });
    }
  };

  const hear = (message) => {
    if (message.k === "put") return replaceOutput(model, message);
    if (message.k === "told") {
      for (const asked of document.querySelectorAll(`${mine} .ask[data-q="${message.q}"][data-at="${message.at}"]`)) {
        asked.querySelector(":scope > .answer").innerHTML = message.html;
      }
    }
    const where = message.k === "reply" && waiting.get(message.n);
    const into = message.part ? where?.querySelector(`[data-part="${message.part}"]`) : where;
    if (!into || (!message.html && into.matches(".answer"))) return;
    into.innerHTML = message.html;
    if (into.matches(".answer")) settle(into);
  };

  const sleep = () => {
    alive = false;
    for (const made of document.querySelectorAll(`${mine} :is(.acts, .desk, .lines, .answer)`)) made.remove();
    for (const made of document.querySelectorAll(`${mine} button.src`)) placeOf(made);
  };

  // A kernel that is started anew knows nothing of these outputs.
  const watch = (_, status) => {
    if (GONE.has(status)) sleep();
  };

  // An answer that grows and a clock that runs have nothing for this in them, and change all the time.
  const observer = new MutationObserver((changes) => {
    if (!changes.every(({ target }) => target.closest?.(".nbs :is(.md, .bar)"))) plan();
  });
  observer.observe(document.body, { childList: true, subtree: true });
  const listeners = { click, keydown: key, input: write };
  for (const [type, listener] of Object.entries(listeners)) document.addEventListener(type, listener);
  model.on("msg:custom", hear);
  const kernel = model.widget_manager?.kernel; // in JupyterLab and Notebook 7
  kernel?.statusChanged?.connect(watch);
  plan();
  return () => {
    observer.disconnect();
    kernel?.statusChanged?.disconnect(watch);
    for (const [type, listener] of Object.entries(listeners)) document.removeEventListener(type, listener);
    sleep();
  };
}

export default { initialize, render() {} };
