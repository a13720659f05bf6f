// The loss as an image: colours by the logarithm of the loss, and a line wherever it doubles.
const Landscape = (() => {
  "use strict";
  const LOWEST = -13, HIGHEST = 9; // powers of two; the floor keeps the logarithm of a perfect fit finite
  const FLOOR = 2 ** LOWEST;
  const DARKEST = -10, PALEST = 5; // where the colours end
  const STEPS = 128; // colours per doubling
  const FIRST = (127 + LOWEST) * STEPS; // exponent and upper mantissa bits of the lowest loss as a float32

  const rgb = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));
  const mix = (one, two, share) => one.map((value, i) => value + (two[i] - value) * share);
  // a pixel as a little-endian integer
  const packed = ([r, g, b]) => (0xff000000 | (Math.round(b) << 16) | (Math.round(g) << 8) | Math.round(r)) >>> 0;

  // Colours by level, and the same for the lines
  function palette(theme) {
    const [low, middle, high, ink] = [theme.low, theme.middle, theme.high, theme.contour].map(rgb);
    const count = (HIGHEST - LOWEST) * STEPS;
    const plain = new Uint32Array(count), line = new Uint32Array(count);
    for (let i = 0; i < count; i++) {
      const share = Math.min(Math.max((LOWEST + i / STEPS - DARKEST) / (PALEST - DARKEST), 0), 1);
      const colour = share < 0.5 ? mix(low, middle, share * 2) : mix(middle, high, share * 2 - 1);
      plain[i] = packed(colour);
      line[i] = packed(mix(colour, ink, 0.22));
    }
    return { plain, line };
  }

  // Loss + floor at every pixel's centre, row by row from the top; into: Float32Array [height x width]
  function fill(view, scene, sums, seen, width, height, into) {
    const dx = (seen.x[1] - seen.x[0]) / width, dy = (seen.y[1] - seen.y[0]) / height;
    const column = new Float64Array(height);
    for (let i = 0; i < width; i++) {
      view.column(scene, sums, seen.x[0] + (i + 0.5) * dx, seen.y[1] - 0.5 * dy, -dy, column);
      for (let j = 0, at = i; j < height; j++, at += width) into[at] = (column[j] > 0 ? column[j] : 0) + FLOOR;
    }
  }

  // Writes colours for `losses` into `pixels` (Uint32Array). The exponent of a float32 changes where the loss doubles.
  function paint(losses, width, height, colours, pixels) {
    const bits = new Int32Array(losses.buffer, losses.byteOffset, losses.length);
    const top = colours.plain.length - 1;
    for (let j = 0, at = 0; j < height; j++) {
      const below = j + 1 < height ? width : 0;
      for (let i = 0; i < width; i++, at++) {
        const octave = bits[at] >> 23;
        const edge = octave !== bits[at + below] >> 23 || (i + 1 < width && octave !== bits[at + 1] >> 23);
        let level = (bits[at] >> 16) - FIRST;
        if (level > top) level = top;
        pixels[at] = edge ? colours.line[level] : colours.plain[level];
      }
    }
  }

  // The image of a view's landscape, a pixel for each of the page's
  class Picture {
    constructor() {
      this.canvas = document.createElement("canvas");
      this.context = this.canvas.getContext("2d");
    }

    update(view, scene, sums, plane, colours) {
      const width = Math.round(plane.box.width), height = Math.round(plane.box.height);
      if (!this.image || this.image.width !== width || this.image.height !== height) {
        Object.assign(this.canvas, { width, height });
        this.image = this.context.createImageData(width, height);
        this.pixels = new Uint32Array(this.image.data.buffer);
        this.losses = new Float32Array(width * height);
      }
      fill(view, scene, sums, plane.window, width, height, this.losses);
      paint(this.losses, width, height, colours, this.pixels);
      this.context.putImageData(this.image, 0, 0);
    }
  }

  return { fill, paint, palette, Picture, FLOOR };
})();
