const SOURCES = { live: "", recorded: "recorded", simulated: "simulated: no language model" };

const dollars = (cost) => (cost ? `$${cost.toPrecision(2)}` : "");
const seconds = (time) => (time === null ? "" : time < 1 ? `${Math.round(time * 1000)} ms` : `${time.toFixed(1)} s`);

/** Fill `root` with a scrubber over all ticks, and with what was sent, called and answered in the one it stands at. */
const tour = (root, data) => {
  const { ticks, turns } = data;
  const opened = new Set();
  const scale = Math.max(1, ...ticks.map((tick) => tick.tokens));
  let at = 0;
  const press = (text, title, step) => {
    const button = make("button", "", text);
    button.type = "button";
    button.title = button.ariaLabel = title;
    button.addEventListener("click", () => go(at + step));
    return button;
  };
  const back = press("◀", "The tick before", -1);
  const on = press("▶", "The next tick", 1);
  const slider = make("input");
  [slider.type, slider.min, slider.max, slider.step, slider.ariaLabel] = ["range", 0, ticks.length - 1, 1, "Tick"];
  slider.addEventListener("input", () => go(Number(slider.value)));
  const where = make("p", "total");
  where.setAttribute("role", "status");
  const kept = make("p", "total");
  const [bar, context, tools, answer, asked] = ["", "", "", "", ""].map(() => make("div"));
  const column = (title, ...content) => make("section", "", make("h2", "", title), ...content);
  const go = (wanted) => {
    at = Math.min(Math.max(wanted, 0), ticks.length - 1);
    show();
  };
  const show = () => {
    const tick = ticks[at];
    const older = at ? partsOf(data, ticks[at - 1].parts) : null;
    const parts = partsOf(data, tick.parts);
    slider.value = at;
    slider.setAttribute("aria-valuetext", `tick ${tick.number}`);
    back.disabled = at === 0;
    on.disabled = at === ticks.length - 1;
    const facts = [tick.model, SOURCES[tick.source] ?? tick.source, seconds(tick.seconds), dollars(tick.cost)];
    const used = tick.usage.output ? `${count(tick.usage.input)} tokens in, ${count(tick.usage.output)} out` : "";
    where.replaceChildren(
      make("b", "", `Tick ${tick.number}`),
      ` · ${at + 1} of ${ticks.length} · ${[...facts, used].filter(Boolean).join(" · ")}`,
    );
    const change = older ? ` (${signed(tick.tokens - ticks[at - 1].tokens)})` : "";
    const front = older ? ` · ${prefix(tick.kept, tick.broken_by, "in the tick before")}` : "";
    kept.textContent = `${tokens(tick.tokens)}${change}${front}`;
    bar.replaceChildren(strip(parts, scale, older ? tick.kept : 0));
    context.replaceChildren(layOut(parts, older, opened), withheld(tick.withheld));
    tools.replaceChildren(...calls(tick));
    answer.replaceChildren(...said(tick));
    const turn = turns[tick.turn];
    const knobs = Object.entries(turn.knobs).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
    asked.replaceChildren(
      make("pre", "words", turn.asked || "(asked again, without a new message)"),
      ...(knobs.length ? [make("p", "total", `Knobs: ${knobs.join(", ")}`)] : []),
    );
  };
  addEventListener("keydown", (event) => {
    const steps = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: ticks.length - 1 };
    if (!(event.key in steps) || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    go(steps[event.key]);
  });
  root.replaceChildren(
    make("h1", "", `Session ${data.session}`),
    ...(data.notes ?? []).map((note) => make("p", "said", note)),
    make("nav", "scrubber", back, slider, on),
    where,
    make(
      "div",
      "columns",
      column("Sent", kept, bar, context),
      make("div", "", column("Asked", asked), column("Answer", answer), column("Tools", tools)),
    ),
  );
  show();
};

const said = (tick) => {
  const pieces = tick.answer.map((one) =>
    one.kind === "thinking"
      ? make("details", "", make("summary", "", "Thinking"), make("pre", "words", one.text))
      : prose(one.html),
  );
  if (tick.error) pieces.push(make("p", "error", tick.error));
  if (tick.stop_reason === "interrupted") pieces.push(make("p", "total", "(cut off here)"));
  return pieces.length ? pieces : [make("p", "total", tick.tools.length ? "Tool calls only." : "Nothing.")];
};

/** An answer: the one thing that comes as HTML, sanitised when the page was made. */
const prose = (html) => {
  const made = make("div", "md");
  made.innerHTML = html;
  return made;
};

const calls = (tick) =>
  tick.tools.length
    ? tick.tools.map((call) => {
        const given = Object.entries(call.input).map(([name, value]) => `${name} = ${JSON.stringify(value)}`);
        const title = make("p", "", make("b", "", call.name), ` ${given.join(", ")}`);
        if (call.status) title.append(make("span", "error", ` (${call.status})`));
        const asked = call.outcome ? [make("pre", "words", call.asked), make("p", "total", call.outcome)] : [];
        const result = call.status === "waits" ? [] : [make("pre", "", call.result)];
        return make("div", "", title, ...asked, ...result);
      })
    : [make("p", "total", "None were called.")];

for (const root of document.querySelectorAll("[data-nbx=tour]")) {
  const data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
  if (data.ticks.length) tour(root, data);
}
