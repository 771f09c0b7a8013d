// What panels and pages have in common. Whatever was said goes into the page as text, never as HTML.

const make = (tag, name = "", ...content) => {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (tag === "pre") made.tabIndex = 0; // what scrolls is scrolled by keyboard, too
  made.append(...content);
  return made;
};

const count = (number) => Math.abs(number).toLocaleString("en");
const signed = (number) => (number ? `${number > 0 ? "+" : "−"}${count(number)}` : "±0");
const tokens = (number) => `≈${count(number)} token${number === 1 ? "" : "s"}`;

/** The parts that runs of places name, each with the text that it has and what tells it from others. */
const partsOf = (shelf, runs) => {
  const seen = new Map();
  const parts = [];
  for (const [first, last] of runs)
    for (let at = first; at <= last; at++) {
      const part = shelf.parts[at];
      const place = JSON.stringify([part.kind === "tool", part.path, part.key ?? ""]);
      const nth = seen.get(place) ?? 0;
      seen.set(place, nth + 1);
      parts.push({ ...part, at, name: `${place}${nth}`, said: shelf.texts[part.text] });
    }
  return parts;
};

const MOST_CELLS = 1_000_000;
const MOST_LINES = 80;

/** The lines in which two texts differ, as [sign, line], with one line around them. */
const difference = (old, text) => {
  const before = old.split("\n");
  const after = text.split("\n");
  let start = 0;
  while (start < Math.min(before.length, after.length) && before[start] === after[start]) start++;
  let end = 0;
  const most = Math.min(before.length, after.length) - start;
  while (end < most && before.at(-1 - end) === after.at(-1 - end)) end++;
  const gone = before.slice(start, before.length - end);
  const come = after.slice(start, after.length - end);
  const lines = [];
  if (start) lines.push([" ", before[start - 1]]);
  lines.push(...compared(gone, come));
  if (end) lines.push([" ", before[before.length - end]]);
  if (lines.length <= MOST_LINES) return lines;
  return [...lines.slice(0, MOST_LINES), ["…", `${count(lines.length - MOST_LINES)} more lines of this difference`]];
};

/** Longest common subsequence; texts too long for that are given as replaced altogether. */
const compared = (gone, come) => {
  const lines = [];
  if (gone.length * come.length > MOST_CELLS)
    return [...gone.map((line) => ["−", line]), ...come.map((line) => ["+", line])];
  const width = come.length + 1;
  const longest = new Uint32Array((gone.length + 1) * width);
  for (let i = gone.length - 1; i >= 0; i--)
    for (let j = come.length - 1; j >= 0; j--)
      longest[i * width + j] =
        gone[i] === come[j]
          ? longest[(i + 1) * width + j + 1] + 1
          : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
  let [i, j] = [0, 0];
  while (i < gone.length || j < come.length) {
    if (i < gone.length && j < come.length && gone[i] === come[j]) {
      lines.push([" ", gone[i++]]);
      j++;
    } else if (j >= come.length || (i < gone.length && longest[(i + 1) * width + j] >= longest[i * width + j + 1]))
      lines.push(["−", gone[i++]]);
    else lines.push(["+", come[j++]]);
  }
  return lines;
};

const differenceOf = (old, text) => {
  const tags = { "+": "ins", "−": "del" };
  return make(
    "div",
    "lines",
    ...difference(old, text).map(([sign, line]) => make(tags[sign] ?? "span", "", `${sign} ${line}`)),
  );
};

const MARKS = { added: "+", removed: "−", changed: "~", "": "" };
const SHORT = 90;

/** Lay out parts, with what differs from older ones; `opened` holds the names of those that the reader unfolded. */
const layOut = (parts, older, opened) => {
  const before = new Map((older ?? []).map((part) => [part.name, part]));
  const now = new Set(parts.map((part) => part.name));
  const rows = [];
  // What is gone stands where it stood: behind what was before it.
  const gone = new Map();
  let behind = "";
  for (const part of older ?? []) {
    if (now.has(part.name)) behind = part.name;
    else gone.set(behind, [...(gone.get(behind) ?? []), part]);
  }
  const leave = (name) => rows.push(...(gone.get(name) ?? []).map((part) => [part, "removed", null]));
  leave("");
  for (const part of parts) {
    const old = before.get(part.name);
    const change = !older || (old && old.text === part.text) ? "" : old ? "changed" : "added";
    rows.push([part, change, change === "changed" ? old : null]);
    leave(part.name);
  }
  return make("div", "parts", ...(older ? gathered(rows, opened) : rows.map((row) => rowOf(...row, opened))));
};

/** What a budget has no room for: it was rendered, and is not sent. */
const withheld = (items) => {
  if (!items.length) return "";
  const row = ({ path, priority, tokens: cost }) =>
    make("div", "row", make("b", "title", path), make("span", "said", `priority ${priority}`), make("span", "number", `≈${count(cost)}`));
  const sum = items.reduce((total, item) => total + item.tokens, 0);
  return make("section", "withheld", make("h4", "", `Withheld for want of room · ${tokens(sum)}`), ...items.map(row));
};

const FEW = 3;

/** Make one row of many messages in a row that are as they were: they are drawn when somebody looks. */
const gathered = (rows, opened) => {
  const made = [];
  let run = [];
  const close = () => {
    if (run.length > FEW) made.push(folded(run, opened));
    else made.push(...run.map((row) => rowOf(...row, opened)));
    run = [];
  };
  for (const row of rows) {
    if (row[0].kind === "message" && !row[1]) run.push(row);
    else {
      close();
      made.push(rowOf(...row, opened));
    }
  }
  close();
  return made;
};

const folded = (run, opened) => {
  const sum = run.reduce((total, [part]) => total + part.tokens, 0);
  const title = make("b", "title", `${count(run.length)} messages as before`);
  const head = [make("i", "swatch message"), title, make("span", "said"), make("span", "number", `≈${count(sum)}`)];
  const row = make("details", "row", make("summary", "", ...head));
  const fill = () => row.childElementCount > 1 || row.append(...run.map((each) => rowOf(...each, opened)));
  remember(row, `run ${run[0][0].name}`, true, fill, opened);
  return row;
};

const rowOf = (part, change, old, opened) => {
  const title = make("b", "title", `${MARKS[change]}${change ? " " : ""}${part.title}`);
  const cost = make("span", "number", old ? `≈${count(part.tokens)} (${signed(part.tokens - old.tokens)})` : `≈${count(part.tokens)}`);
  // The heading of a section says its title again.
  const first = part.said.replace(/^#+ .*\n/, "").trimStart().split("\n", 1)[0];
  const said = make("span", "said", first.slice(0, 200));
  const head = [make("i", `swatch ${part.kind}`), title, said, cost];
  if (part.kind !== "message") title.title = part.path;
  if (part.edited) title.append(" (edited)");
  if (!old && part.said.length <= SHORT && !part.said.includes("\n")) return make("div", `row ${change}`, ...head);
  const row = make("details", `row ${change}`, make("summary", "", ...head));
  const fill = () => row.childElementCount > 1 || row.append(old ? differenceOf(old.said, part.said) : make("pre", "", part.said));
  remember(row, `${part.name}${change}`, !old, fill, opened);
  return row;
};

/** Unfold a row as the reader left it; `opened` holds those that do not stand as they did at first. */
const remember = (row, name, shut, fill, opened) => {
  row.addEventListener("toggle", () => {
    if (row.open) fill();
    if (row.open === shut) opened.add(name);
    else opened.delete(name);
  });
  if (opened.has(name) === shut) {
    fill();
    row.open = true;
  }
};

const KINDS = [
  ["tools", (part) => part.kind === "tool"],
  ["system", (part) => part.kind === "system"],
  ["sections", (part) => !["tool", "system", "message"].includes(part.kind)],
  ["messages", (part) => part.kind === "message"],
];

/** Where the tokens went, as a bar to a scale, and in words. */
const strip = (parts, scale, kept) => {
  const bar = make("div", "strip");
  const words = [];
  for (const [name, is] of KINDS) {
    const sum = parts.filter(is).reduce((total, part) => total + part.tokens, 0);
    if (!sum) continue;
    const piece = make("span", name);
    piece.style.width = `${(100 * sum) / Math.max(scale, 1)}%`;
    bar.append(piece);
    words.push(`${name} ≈${count(sum)}`);
  }
  if (kept) {
    const notch = make("span", "notch");
    notch.style.left = `${(100 * kept) / Math.max(scale, 1)}%`;
    bar.append(notch);
  }
  bar.setAttribute("role", "img");
  bar.setAttribute("aria-label", words.join(", "));
  bar.title = words.join(", ");
  return bar;
};

/** What is kept of the prefix, and what breaks it. */
const prefix = (kept, brokenBy, than) =>
  brokenBy ? `≈${count(kept)} tokens of the prefix are as ${than}, up to ${brokenBy}` : `the prefix is as ${than}`;
