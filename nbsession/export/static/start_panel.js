for (const root of document.querySelectorAll("[data-nbx=panel]:not([data-nbx-ready])")) {
  root.dataset.nbxReady = "";
  panel(root, JSON.parse(root.querySelector("script[type='application/json']").textContent));
}
