// Light or dark, by the system or the button, remembered as on the dashboard; and its colours as the canvases want them.
const Theme = (() => {
  "use strict";
  const KEY = "lop-theme";
  const COLOURS = [
    "panel", "text", "faint", "line", "accent", "student", "teacher", "dead", "on", "shade", "arrow",
    "low", "middle", "high", "contour",
  ];

  // Hatched for dead, dotted for always-on: told apart without colour
  function pattern(theme, kind) {
    const tile = document.createElement("canvas");
    tile.width = tile.height = kind === "dead" ? 8 : 9;
    const draw = tile.getContext("2d");
    if (kind === "dead") {
      draw.strokeStyle = theme.dead;
      draw.lineWidth = 1.3;
      for (const shift of [-8, 0, 8]) {
        draw.moveTo(shift - 1, 9);
        draw.lineTo(shift + 9, -1);
      }
      draw.stroke();
    } else {
      draw.fillStyle = theme.on;
      draw.arc(4.5, 4.5, 1.1, 0, 2 * Math.PI);
      draw.fill();
    }
    return tile;
  }

  function read(name) {
    const style = getComputedStyle(document.documentElement);
    const theme = { name };
    for (const key of COLOURS) theme[key] = style.getPropertyValue(`--${key}`).trim();
    theme.data = theme.accent;
    theme.colours = Landscape.palette(theme);
    theme.patterns = { dead: pattern(theme, "dead"), on: pattern(theme, "on") };
    return theme;
  }

  // Calls use(theme) now and whenever it changes
  function follow(use) {
    const system = matchMedia("(prefers-color-scheme: dark)");
    const button = document.getElementById("theme");
    let chosen = null;
    try { chosen = localStorage.getItem(KEY); } catch { /* no storage: follow the system */ }
    const mode = () => (chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light");
    const paint = () => {
      document.documentElement.dataset.theme = mode();
      button.textContent = mode() === "dark" ? "☀ light" : "☾ dark";
      use(read(mode()));
    };
    system.addEventListener("change", paint);
    button.addEventListener("click", () => {
      chosen = mode() === "dark" ? "light" : "dark";
      try { localStorage.setItem(KEY, chosen); } catch { /* for this page only */ }
      paint();
    });
    paint();
  }

  return { follow };
})();
