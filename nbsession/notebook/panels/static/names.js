// The handle of a slider has the role of one, and no name: its label is another element's. This gives it that.

const SLIDER = ".widget-hslider";

function name(box) {
  for (const slider of box.querySelectorAll(SLIDER)) {
    const label = slider.querySelector(".widget-label")?.textContent ?? "";
    const handle = slider.querySelector("[role=slider]");
    if (handle && handle.getAttribute("aria-label") !== label) handle.setAttribute("aria-label", label);
  }
}

function render({ el }) {
  let box = null;
  const watch = new MutationObserver(() => name(box));
  let frame;
  const begin = () => {
    box = el.closest(".nbs-knobs");
    if (!box) {
      frame = requestAnimationFrame(begin);
      return;
    }
    name(box);
    watch.observe(box, { childList: true, subtree: true });
  };
  begin();
  return () => {
    cancelAnimationFrame(frame);
    watch.disconnect();
  };
}

export default { render };
