// What the five views look like.
const Draw = (() => {
  "use strict";
  const ARROW_SPACING = 29; // pixels, more on large screens: their number is what costs
  const ARROWS_ACROSS = 13;

  function written(draw, theme, text, x, y) {
    draw.font = "600 12px system-ui, sans-serif";
    Object.assign(draw, { textAlign: "center", textBaseline: "middle", lineWidth: 4, lineJoin: "round" });
    Object.assign(draw, { strokeStyle: theme.panel, fillStyle: theme.text });
    draw.strokeText(text, x, y);
    draw.fillText(text, x, y);
  }

  function region(draw, plane, theme, polygon, kind, text) {
    if (!polygon) return;
    plane.path(draw, polygon);
    draw.fillStyle = draw.createPattern(theme.patterns[kind], "repeat");
    draw.fill();
    // a label where the region is widest: at the top or the bottom of the window
    const { x: columns, y: rows } = plane.window;
    const level = kind === "dead" ? rows[0] + 0.09 * (rows[1] - rows[0]) : rows[1] - 0.09 * (rows[1] - rows[0]);
    const crossings = [];
    polygon.forEach(([x, y], i) => {
      const [u, v] = polygon[(i + 1) % polygon.length];
      if (y > level !== v > level) crossings.push(x + ((level - y) / (v - y)) * (u - x));
    });
    const left = plane.toX(Math.max(Math.min(...crossings), columns[0]));
    const right = plane.toX(Math.min(Math.max(...crossings), columns[1]));
    const lines = right - left > 8 * text.length ? [text] : text.split(" ");
    if (!crossings.length || right - left < 44) return;
    lines.forEach((line, i) => written(draw, theme, line, (left + right) / 2, plane.toY(level) + 14 * i));
  }

  // Gradient flow on a grid of pixels: the longer, the faster, but no longer than the grid
  function arrows(draw, plane, theme, view, scene, sums) {
    const { box } = plane;
    const spacing = Math.max(ARROW_SPACING, box.width / ARROWS_ACROSS);
    draw.beginPath();
    for (let px = box.x + spacing / 2; px < box.x + box.width; px += spacing) {
      for (let py = box.y + spacing / 2; py < box.y + box.height; py += spacing) {
        const [vx, vy] = view.flow(scene, sums, plane.fromX(px), plane.fromY(py));
        const dx = vx * plane.perX, dy = -vy * plane.perY;
        const speed = Math.hypot(dx, dy);
        if (!(speed > 1e-6)) continue;
        const length = 5 + (spacing - 9) * (speed / (speed + 60));
        const ux = dx / speed, uy = dy / speed;
        const tipX = px + (ux * length) / 2, tipY = py + (uy * length) / 2;
        draw.moveTo(px - (ux * length) / 2, py - (uy * length) / 2);
        draw.lineTo(tipX, tipY);
        draw.moveTo(tipX - 3.5 * ux - 2.4 * uy, tipY - 3.5 * uy + 2.4 * ux);
        draw.lineTo(tipX, tipY);
        draw.lineTo(tipX - 3.5 * ux + 2.4 * uy, tipY - 3.5 * uy - 2.4 * ux);
      }
    }
    draw.strokeStyle = theme.arrow;
    draw.lineWidth = 1.1;
    draw.stroke();
  }

  // A point beyond the window is told by an arrowhead at its edge
  function pointer(draw, plane, theme, { who, x, y }) {
    const { box } = plane;
    const px = Math.min(Math.max(plane.toX(x), box.x + 9), box.x + box.width - 9);
    const py = Math.min(Math.max(plane.toY(y), box.y + 9), box.y + box.height - 9);
    const angle = Math.atan2(plane.toY(y) - py, plane.toX(x) - px);
    draw.beginPath();
    for (const turn of [0, 2.4, -2.4]) draw.lineTo(px + 8 * Math.cos(angle + turn), py + 8 * Math.sin(angle + turn));
    draw.closePath();
    Object.assign(draw, { fillStyle: theme[who], strokeStyle: theme.panel, lineWidth: 2 });
    draw.stroke();
    draw.fill();
  }

  function marks(draw, plane, theme, handles, selected) {
    for (const handle of handles.filter((one) => one.who !== "data").reverse()) {
      if (plane.has(handle.x, handle.y)) plane.mark(draw, theme, handle, handle.id === selected);
      else if (!handle.hollow) pointer(draw, plane, theme, handle);
    }
  }

  // All of a slice that does not move with the student itself
  function background(view, plane, { scene, sums, theme, picture }) {
    picture.update(view, scene, sums, plane, theme.colours);
    plane.begin(theme);
    plane.inside((draw) => {
      const { box } = plane;
      draw.drawImage(picture.canvas, box.x, box.y, box.width, box.height);
      const { dead, on } = view.regions(scene, plane.window);
      plane.zeroLines(draw, theme.line);
      region(draw, plane, theme, dead, "dead", "dead");
      region(draw, plane, theme, on, "on", "always on");
      arrows(draw, plane, theme, view, scene, sums);
      const line = view.teacherLine(scene, plane.window);
      if (!line) return;
      plane.path(draw, line);
      Object.assign(draw, { strokeStyle: theme.teacher, lineWidth: 1.5 });
      draw.setLineDash([6, 4]);
      draw.stroke();
      draw.setLineDash([]);
    });
    plane.axes(theme, view.xName, view.yName);
  }

  function slice(view, plane, { scene, trail, theme, layer, trailImage, selected }) {
    trailImage.update(trail, view, plane, theme);
    plane.begin(theme);
    plane.context.drawImage(layer, 0, 0, plane.width, plane.height);
    plane.inside((draw) => {
      draw.drawImage(trailImage.canvas, 0, 0, plane.width, plane.height);
      marks(draw, plane, theme, view.handles(scene, plane.window), selected);
    });
  }

  function curve(draw, plane, colour, width, kink, value) {
    const [from, to] = plane.window.x;
    const bends = kink > from && kink < to ? [from, kink, to] : [from, to];
    plane.path(draw, bends.map((x) => [x, value(x)]));
    Object.assign(draw, { strokeStyle: colour, lineWidth: width });
    draw.stroke();
  }

  function inputOutput(view, plane, { scene, x, theme, selected }) {
    const { teacher, student, data } = scene;
    const kink = Core.shape(student).k;
    plane.begin(theme);
    plane.inside((draw) => {
      const left = plane.toX(data.low), right = plane.toX(data.high);
      draw.fillStyle = theme.shade;
      draw.fillRect(left, plane.box.y, right - left, plane.box.height);
      plane.zeroLines(draw, theme.line);
      draw.fillStyle = theme.accent;
      for (const edge of ["low", "high"]) {
        const width = selected === `data-${edge}` ? 3 : 1;
        draw.fillRect(plane.toX(data[edge]) - width / 2, plane.box.y, width, plane.box.height);
      }
      draw.beginPath();
      for (const value of x) {
        draw.moveTo(plane.toX(value), plane.box.y + plane.box.height - 7);
        draw.lineTo(plane.toX(value), plane.box.y + plane.box.height);
      }
      Object.assign(draw, { strokeStyle: theme.accent, lineWidth: x.length > 250 ? 0.5 : 0.8 });
      draw.stroke();
      const kinks = [kink, teacher.k].filter((k) => k > data.low && k < data.high).sort((one, two) => one - two);
      const corners = [data.low, ...kinks, data.high];
      const there = corners.map((u) => [u, Core.predict(u, student)]);
      const back = corners.map((u) => [u, Core.teach(u, teacher)]).reverse();
      plane.path(draw, [...there, ...back]);
      draw.globalAlpha = 0.16;
      draw.fillStyle = theme.student;
      draw.fill("evenodd");
      draw.globalAlpha = 1;
      curve(draw, plane, theme.teacher, 2.2, teacher.k, (u) => Core.teach(u, teacher));
      curve(draw, plane, theme.student, 2.8, kink, (u) => Core.predict(u, student));
      marks(draw, plane, theme, view.handles(scene, plane.window), selected);
    });
    plane.axes(theme, view.xName, view.yName);
  }

  return { background, slice, inputOutput };
})();
