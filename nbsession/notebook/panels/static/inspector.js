// The inspector: HTML fragments come from the kernel, already safe, for named slots. One question at a time: while the
// kernel lays out a tick, only the last one that was asked for meanwhile is remembered. The ticks next to it come unasked,
// and are shown at once: they hold for as long as answers are of the same edition.
//
// In:  {k: "all", for, edition, html}   everything, for the view that said hello, or "*"
//      {k: "at", me, edition, tick, name, last, older, other, locked, beside, words, slots}   where the controls stand, and fragments by slot
//      {k: "ahead", edition, tick, …}   as "at", of a tick that may be asked for next
//      {k: "put", slot, html}   the row of ticks, what stands beside, or the tree of forks, anew
// Out: {k: "hello", me} {k: "open", d, open}, and, each answered by "at" with this me:
//      {k: "go", me, tick} {k: "compare", me, beside} {k: "whole", me}
//      {k: "leave", me, path, out} {k: "restore", me} {k: "run", me} {k: "session", me, id}
//      {k: "company", me, id} {k: "other", me, tick} {k: "lock", me} {k: "part", me}
//
// Keys, beside those of the slider: arrows step, d goes to where two sessions part, l locks them in step or lets go.

const FAR = 16; // ticks from the one shown, beyond which what came ahead is forgotten; the kernel counts on it

const stands = new WeakMap(); // the HTML of each slot that was put there

// What had the focus has it again, where it still stands. Most slots are the same at the next tick: they stay.
function put(slot, html) {
  if (stands.get(slot) === html) return;
  stands.set(slot, html);
  const held = slot.contains(document.activeElement) ? document.activeElement.dataset.do : null;
  slot.innerHTML = html;
  if (held) slot.querySelector(`[data-do="${CSS.escape(held)}"]`)?.focus();
}

// Mathematics in an answer stands in elements of this class, in one that the front end's typesetter leaves alone.
function typeset(model, node) {
  if (node.querySelector(".mathjax_process")) model.widget_manager?._rendermime?.latexTypesetter?.typeset(node);
}

function render({ model, el }) {
  const me = Math.random().toString(36).slice(2);
  const find = (selector) => el.querySelector(selector);
  const slot = (name) => find(`[data-s="${name}"]`);
  let waits = false; // for an answer
  const next = [];
  const ahead = new Map(); // what came of ticks that were not asked for yet, by number
  let edition;

  const begin = (number) => {
    if (number !== edition) ahead.clear();
    edition = number;
  };

  const ask = (message) => {
    if (message.k !== "go") ahead.clear();
    if (waits) {
      if (["go", "compare", "other"].includes(message.k) && next.at(-1)?.k === message.k) next.pop();
      next.push(message);
      return;
    }
    waits = true;
    model.send({ ...message, me });
  };

  const answered = () => {
    waits = false;
    if (next.length) ask(next.shift());
  };

  const mark = () => {
    const { at, older, other } = find(".inspect").dataset;
    const [mine, theirs] = slot("bars").children;
    for (const marked of slot("bars").querySelectorAll(".at, .older")) marked.classList.remove("at", "older");
    mine.children[at]?.classList.add("at");
    if (theirs) theirs.children[other]?.classList.add("at");
    else mine.children[older]?.classList.add("older");
  };

  const stand = ({ tick, name, last, older, other, locked, beside, words, slots }) => {
    const range = find(".ticks");
    const number = find(".older[type]");
    range.disabled = last < 1;
    range.max = last;
    number.max = Math.max(last - 1, 0);
    if (!next.some((asked) => asked.k === "go")) range.value = tick;
    range.setAttribute("aria-valuetext", words);
    find(".now").textContent = name;
    find("[data-do=beside]").value = typeof beside === "number" ? "tick" : beside;
    number.hidden = typeof beside !== "number";
    // What is being typed stays.
    if (!number.hidden && document.activeElement !== number) number.value = beside;
    find(".beside").hidden = other >= 0;
    if (find(".now[data-other]")) {
      find(".now[data-other]").textContent = `Tick ${other}`;
      find("[data-do=lock]").checked = locked;
    }
    Object.assign(find(".inspect").dataset, { at: tick, older, other });
    for (const [where, html] of Object.entries(slots)) put(slot(where), html);
    typeset(model, el);
    mark();
  };

  const hear = (message) => {
    if (message.k === "all" && [me, "*"].includes(message.for)) {
      begin(message.edition);
      el.innerHTML = message.html;
      typeset(model, el);
      mark();
    } else if (!find(".inspect")) {
      return; // everything is on its way
    } else if (message.k === "put") {
      put(slot(message.slot), message.html);
      mark();
    } else if (message.k === "ahead") {
      if (message.edition === edition) ahead.set(message.tick, message);
    } else if (message.k === "at") {
      begin(message.edition);
      for (const tick of ahead.keys()) if (Math.abs(tick - message.tick) > FAR) ahead.delete(tick);
      // Who stepped on meanwhile sees where that led.
      if (!next.some((asked) => asked.k === "go" && ahead.has(asked.tick))) stand(message);
    }
    if (message.me === me) answered();
  };

  const go = (tick) => {
    if (ahead.has(tick)) stand(ahead.get(tick));
    ask({ k: "go", tick });
  };
  const step = (by) => {
    const range = find(".ticks");
    range.value = Number(range.value) + by;
    go(Number(range.value));
  };

  const stepOther = (by) => ask({ k: "other", tick: Number(find(".inspect").dataset.other) + by });
  const company = (id) => ask({ k: "company", id });

  const DO = {
    otherBack: () => stepOther(-1),
    otherOn: () => stepOther(1),
    part: () => ask({ k: "part" }),
    company,
    back: () => step(-1),
    on: () => step(1),
    whole: () => ask({ k: "whole" }),
    restore: () => ask({ k: "restore" }),
    run: () => ask({ k: "run" }),
    session: (id) => ask({ k: "session", id }),
  };

  const click = (event) => {
    const summary = event.target.closest("summary");
    const fold = summary?.parentElement;
    if (fold?.dataset.d) {
      ahead.clear();
      model.send({ k: "open", d: fold.dataset.d, open: !fold.open });
    }
    const button = event.target.closest("button[data-do]");
    if (button) {
      const [action, ...rest] = button.dataset.do.split(":");
      DO[action](rest.join(":"));
    }
    const bars = event.target.closest("[data-s=bars]");
    if (bars) {
      const middles = [...bars.firstElementChild.children].map((bar) => {
        const { left, right } = bar.getBoundingClientRect();
        return Math.abs((left + right) / 2 - event.clientX);
      });
      const tick = middles.indexOf(Math.min(...middles));
      if (event.shiftKey) ask({ k: "compare", beside: tick });
      else go(tick);
    }
  };

  const input = ({ target }) => {
    if (target.matches(".ticks")) go(Number(target.value));
    else if (target.matches(".older") && target.value) ask({ k: "compare", beside: Number(target.value) });
  };

  const change = ({ target }) => {
    if (target.matches("[data-do^='leave:']")) {
      stands.delete(slot("tree")); // if that is refused, the box is to be ticked as it was
      ask({ k: "leave", path: target.dataset.do.slice("leave:".length), out: !target.checked });
    } else if (target.matches("[data-do=lock]")) {
      ask({ k: "lock" });
    } else if (target.matches("[data-do=company]")) {
      company(target.value);
    } else if (target.matches("[data-do=beside]")) {
      ask({ k: "compare", beside: target.value === "tick" ? Number(find(".older[type]").value) : target.value });
    }
  };

  // In a notebook JupyterLab takes the arrows and Enter from whatever has the focus, unless that itself refuses.
  const keepKeys = (event) => {
    event.target.dataset.lmSuppressShortcuts = "true";
  };

  const key = (event) => {
    const types = event.target.matches("select, textarea, input:not([type=range], [type=checkbox])");
    if (types || event.altKey || event.ctrlKey || event.metaKey || !find(".inspect")) return;
    const isBeside = find(".now[data-other]") !== null;
    if (event.key === "d" && isBeside) DO.part();
    else if (event.key === "l" && isBeside) ask({ k: "lock" });
    else if (event.key === "ArrowLeft" && !event.target.matches(".ticks")) step(-1);
    else if (event.key === "ArrowRight" && !event.target.matches(".ticks")) step(1);
    else return;
    event.preventDefault();
  };

  el.classList.add("jp-RenderedHTMLCommon", "nbs-inspector");
  el.addEventListener("focusin", keepKeys);
  el.addEventListener("click", click);
  el.addEventListener("keydown", key);
  el.addEventListener("input", input);
  el.addEventListener("change", change);
  model.on("msg:custom", hear);
  model.send({ k: "hello", me });
  return () => model.off("msg:custom", hear);
}

export default { render };
