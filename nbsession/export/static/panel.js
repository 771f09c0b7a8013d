const RANGE = 3;

/** Fill `root` with controls for the frozen knobs, and with the context under the values where they stand. */
const panel = (root, data) => {
  const opened = new Set();
  const sent = partsOf(data, data.sent.parts);
  const most = Math.max(data.sent.tokens, ...data.combinations.map((one) => one.tokens));
  const places = [];
  let rest = data.current;
  for (const knob of [...data.knobs].reverse()) {
    places.unshift(rest % knob.values.length);
    rest = Math.floor(rest / knob.values.length);
  }
  const begun = [...places];
  const total = make("p", "total");
  total.setAttribute("role", "status");
  const bar = make("div");
  const list = make("div");
  const show = () => {
    const at = data.knobs.reduce((sum, knob, n) => sum * knob.values.length + places[n], 0);
    const here = data.combinations[at];
    const parts = partsOf(data, here.parts);
    const change = here.tokens - data.sent.tokens;
    total.replaceChildren(
      make("b", "", tokens(here.tokens)),
      ` (${signed(change)} against the values as last sent) · ${prefix(here.kept, here.broken_by, "last sent")}`,
    );
    bar.replaceChildren(strip(parts, most, here.kept));
    list.replaceChildren(layOut(parts, sent, opened), withheld(here.withheld));
    reset.disabled = places.every((place, n) => place === begun[n]);
  };
  const controls = data.knobs.map((knob, n) => control(knob, places[n], (place) => ((places[n] = place), show())));
  const reset = make("button", "", "Reset");
  reset.type = "button";
  reset.title = "Back to where the knobs stood";
  reset.addEventListener("click", () => {
    begun.forEach((place, n) => controls[n].stand((places[n] = place)));
    show();
  });
  const rows = [];
  let group = "";
  for (const [n, knob] of data.knobs.entries()) {
    if (knob.group !== group) rows.push(make("h4", "", (group = knob.group)));
    rows.push(controls[n].row);
  }
  const knobs = make("fieldset", "knobs", make("legend", "", `Knobs of session ${data.session}`), ...rows, reset);
  root.replaceChildren(knobs, total, bar, list);
  show();
};

let made = 0;

/** A native control for a knob: a slider for numbers, a box to tick for on and off, a list for the rest. */
const control = (knob, place, moved) => {
  const tick = knob.kind === "bool" && knob.values.length === 2;
  const slide = !tick && knob.values.length >= RANGE && knob.values.every((value) => typeof value === "number");
  const input = make(tick || slide ? "input" : "select");
  const shown = make("span", "value");
  const on = tick ? knob.values.indexOf(true) : 0;
  const spell = (at) => {
    shown.textContent = tick ? "" : slide ? knob.labels[at] : "";
    if (slide) input.setAttribute("aria-valuetext", knob.labels[at]);
  };
  const stand = (at) => {
    if (tick) input.checked = at === on;
    else if (slide) input.value = at;
    else input.selectedIndex = at;
    spell(at);
  };
  if (tick) input.type = "checkbox";
  else if (slide) {
    // By the places of the values: these may lie unevenly.
    input.type = "range";
    [input.min, input.max, input.step] = [0, knob.values.length - 1, 1];
  } else input.append(...knob.labels.map((label) => make("option", "", label)));
  input.id = `nbx-${crypto.getRandomValues(new Uint32Array(2)).join("")}-${made++}`;
  // Else JupyterLab takes the arrow keys for itself; it looks at the focused element first.
  input.dataset.lmSuppressShortcuts = "true";
  input.title = knob.description || knob.name;
  input.addEventListener("input", () => {
    const at = tick ? (input.checked ? on : 1 - on) : slide ? Number(input.value) : input.selectedIndex;
    spell(at);
    moved(at);
  });
  const label = make("label", "", knob.name);
  label.htmlFor = input.id;
  stand(place);
  return { row: make("div", "knob", label, input, shown), stand };
};
