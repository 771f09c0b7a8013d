export default {
  render({ el }) {
    const root = make("div", "nbx mathjax_ignore tex2jax_ignore");
    el.replaceChildren(make("style", "", style), root);
    panel(root, JSON.parse(text));
  },
};
