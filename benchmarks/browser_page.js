// Measures in the page itself: how long frames and tasks take, and how long an act takes to be seen.

const frame = () => new Promise(requestAnimationFrame);
const rest = (time) => new Promise((resolve) => setTimeout(resolve, time));

// A task that is posted in a frame runs when that frame is painted.
const painted = async () => {
  await frame();
  await new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = resolve;
    port2.postMessage(null);
  });
};

/** Return the milliseconds of the frames, and of the tasks over 50 ms, while `act` goes on. */
const watched = async (act) => {
  const frames = [];
  const tasks = [];
  const note = (entries) => tasks.push(...entries.map((entry) => entry.duration));
  const observer = new PerformanceObserver((list) => note(list.getEntries()));
  observer.observe({ type: "longtask" });
  let last = await frame();
  let isOver = false;
  const each = (now) => {
    frames.push(now - last);
    last = now;
    if (!isOver) requestAnimationFrame(each);
  };
  requestAnimationFrame(each);
  await act();
  await painted();
  isOver = true;
  note(observer.takeRecords());
  observer.disconnect();
  return { frames, tasks };
};

/** Scroll from the top, so many pixels a frame, to the end or for so many frames. */
const scroll = async (selector, step, most) => {
  const node = document.querySelector(selector);
  node.scrollTop = 0;
  await rest(500);
  return watched(async () => {
    for (let at = 0; at < most && node.scrollTop + node.clientHeight < node.scrollHeight - 1; at += 1) {
      node.scrollTop += step;
      await frame();
    }
  });
};

/** Return, for so many acts, the milliseconds from each until what it changes in a node is painted; a node may be made anew meanwhile. */
const steps = async (count, act, node) => {
  const taken = [];
  while (taken.length < count) {
    await rest(100 + 17 * Math.random());
    const changed = new Promise((resolve, reject) => {
      setTimeout(reject, 10_000, Error("nothing changed for 10 s"));
      const observer = new MutationObserver(() => {
        observer.disconnect();
        resolve();
      });
      observer.observe(node(), { childList: true, subtree: true, characterData: true });
    });
    const began = performance.now();
    act();
    await changed;
    await painted();
    taken.push(performance.now() - began);
  }
  return taken;
};

const keydown = (key) => new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });

const write = (count) => steps(count, () => document.body.append("-"), () => document.body);

/** Move the slider of a panel of knobs, from 1 to 9 and back. */
const slide = (count) => {
  const handle = document.querySelector(".nbs-knobs [role=slider]");
  let key = "ArrowRight";
  const move = () => {
    const at = Number(handle.ariaValueNow);
    if (at <= 2) key = "ArrowRight";
    if (at >= 9) key = "ArrowLeft";
    handle.dispatchEvent(keydown(key));
  };
  return steps(count, move, () => document.querySelector(".nbs-knobs > .widget-html .widget-html-content"));
};

/** Step back through the ticks of the inspector. */
const goBack = (count) => {
  const find = (selector) => document.querySelector(`.nbs-inspector ${selector}`);
  return steps(count, () => find("[data-do=back]").click(), () => find("[data-s=tick]"));
};

const press = (key, count) => steps(count, () => dispatchEvent(keydown(key)), () => document.body);

const unfold = () => {
  for (const each of document.querySelectorAll(".nbs details.ctx")) each.open = true;
};

window.measure = { goBack, press, rest, scroll, slide, unfold, watched, write };
