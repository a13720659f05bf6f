// Light or dark, and the form. Plots are painted here because a Bokeh theme cannot change once it is drawn.
(() => {
  const themes = /*THEMES*/;
  const system = matchMedia("(prefers-color-scheme: dark)");
  let chosen = null;
  try { chosen = localStorage.getItem("lop-theme"); } catch { /* no storage: follow the system */ }

  const mode = () => chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light";

  const colours = (c) => ({
    Figure: { background_fill_color: c.panel, border_fill_color: c.panel, outline_line_color: c.line },
    Title: { text_color: c.text },
    ColorBar: { background_fill_color: c.panel, title_text_color: c.text, major_label_text_color: c.text, bar_line_color: c.line },
    Grid: { grid_line_color: c.line, grid_line_alpha: 0.6 },
    Axis: { axis_line_color: c.line, major_tick_line_color: c.line, minor_tick_line_color: null, major_label_text_color: c.faint, axis_label_text_color: c.text },
  });

  let painted = new WeakMap();
  function paint() {
    const all = colours(themes[mode()]);
    for (const doc of window.Bokeh?.documents ?? []) {
      for (const root of doc.roots()) {
        for (const model of root.references()) {
          const kind = model.type?.endsWith("Axis") ? "Axis" : model.type;
          if (all[kind] && painted.get(model) !== mode()) {
            painted.set(model, mode());
            model.setv(all[kind], { sync: false });  // a matter of this browser alone
          }
        }
      }
    }
  }

  function dress() {
    const style = document.documentElement.style;
    style.colorScheme = mode();
    for (const [name, colour] of Object.entries(themes[mode()])) style.setProperty("--" + name, colour);
    const button = document.getElementById("theme");
    if (button) button.textContent = mode() === "dark" ? "☀ light" : "☾ dark";
    paint();
  }

  dress();
  system.addEventListener("change", dress);
  setInterval(paint, 200);  // plots come after the page, and new ones when an environment appears

  document.addEventListener("DOMContentLoaded", () => {
    dress();
    document.getElementById("theme").addEventListener("click", () => {
      chosen = mode() === "dark" ? "light" : "dark";
      try { localStorage.setItem("lop-theme", chosen); } catch { /* for this page only */ }
      dress();
    });
    const form = document.getElementById("choices");
    const go = () => { location.search = new URLSearchParams(new FormData(form)); };
    let waiting = false;
    form?.addEventListener("change", (event) => { if (event.target.type === "checkbox") waiting = true; else go(); });
    // several boxes may be ticked before the list is closed
    for (const list of form?.querySelectorAll("details") ?? []) {
      list.addEventListener("toggle", () => { if (!list.open && waiting) go(); });
    }
    document.addEventListener("click", (event) => {
      for (const list of form?.querySelectorAll("details[open]") ?? []) if (!list.contains(event.target)) list.open = false;
    });
  });
})();
