"use strict";
// What the generators of all architectures are made of; images are made one at a time. Features are
// Float32Arrays, [maps, side, side]. The page runs these scripts itself, and in its workers.

// ---------------------------------------------------------------------------------------------------------
// Seeds: the same latents as torch.randn(1, size, generator=torch.Generator().manual_seed(seed))

class MersenneTwister {
  constructor(seed) {
    this.state = new Uint32Array(624);
    this.state[0] = seed % 2 ** 32;
    for (let i = 1; i < 624; i++) {
      const previous = this.state[i - 1] ^ (this.state[i - 1] >>> 30);
      this.state[i] = Math.imul(1812433253, previous) + i;
    }
    this.position = 624;
  }

  /** A whole number below 2^32. */
  next() {
    if (this.position === 624) this.twist();
    let y = this.state[this.position++];
    y ^= y >>> 11;
    y ^= (y << 7) & 0x9d2c5680;
    y ^= (y << 15) & 0xefc60000;
    return (y ^ (y >>> 18)) >>> 0;
  }

  twist() {
    const s = this.state;
    for (let i = 0; i < 624; i++) {
      const y = (s[i] & 0x80000000) | (s[(i + 1) % 624] & 0x7fffffff);
      s[i] = s[(i + 397) % 624] ^ (y >>> 1) ^ (y & 1 ? 0x9908b0df : 0);
    }
    this.position = 0;
  }

  uniform24() { return (this.next() % 2 ** 24) / 2 ** 24; }

  uniform53() {
    const high = this.next() % 2 ** 21;
    return (high * 2 ** 32 + this.next()) / 2 ** 53;
  }
}

/** torch draws fewer than 16 numbers one pair after the other, and more in blocks of 16. */
function latentsOfSeed(seed, size) {
  const random = new MersenneTwister(seed);
  return size < 16 ? normalPairs(random, size) : normalBlocks(random, size);
}

function normalPairs(random, size) {
  const values = [];
  while (values.length < size) {
    const angle = 2 * Math.PI * random.uniform53();
    const radius = Math.sqrt(-2 * Math.log1p(-random.uniform53()));
    values.push(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  return Float32Array.from(values.slice(0, size));
}

function normalBlocks(random, size) {
  const values = Float32Array.from({ length: size }, () => random.uniform24());
  for (let first = 0; first + 16 <= size; first += 16) boxMuller(values.subarray(first, first + 16));
  if (size % 16) { // the last 16 again
    const last = values.subarray(size - 16);
    last.set(Array.from(last, () => random.uniform24()));
    boxMuller(last);
  }
  return values;
}

/** 16 uniform numbers to normal ones, in place. */
function boxMuller(block) {
  for (let i = 0; i < 8; i++) {
    const radius = Math.sqrt(-2 * Math.log(1 - block[i])), angle = 2 * Math.PI * block[i + 8];
    block[i] = radius * Math.cos(angle);
    block[i + 8] = radius * Math.sin(angle);
  }
}

/** From a (position 0) to b (1) along the hypersphere: directions by angle, lengths in proportion. */
function latentsBetween(a, b, position) {
  const lengthA = Math.hypot(...a), lengthB = Math.hypot(...b);
  const cosine = a.reduce((sum, value, i) => sum + value * b[i], 0) / (lengthA * lengthB);
  const angle = Math.acos(Math.min(Math.max(cosine, -1), 1));
  if (position === 0 || Math.sin(angle) < 1e-6) return a;
  const length = lengthA + position * (lengthB - lengthA);
  const ofA = length * Math.sin((1 - position) * angle) / (Math.sin(angle) * lengthA);
  const ofB = length * Math.sin(position * angle) / (Math.sin(angle) * lengthB);
  return a.map((value, i) => ofA * value + ofB * b[i]);
}

// ---------------------------------------------------------------------------------------------------------
// Weights: a safetensors file

const BYTES = { F16: 2, F32: 4 }; // of an element

/** bytes: an ArrayBuffer. The tensors are {name: {dtype, shape, data_offsets}}, counted from `dataStart`. */
function readHeader(bytes) {
  const length = Number(new DataView(bytes).getBigUint64(0, true));
  const { __metadata__, ...tensors } = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)));
  return { dataStart: 8 + length, tensors };
}

/** Returns {name: {shape, values}}. */
function readTensors(bytes) {
  const { dataStart, tensors } = readHeader(bytes);
  const read = ({ dtype, shape, data_offsets: [begin, end] }) => {
    const data = bytes.slice(dataStart + begin, dataStart + end);
    return { shape, values: dtype === "F16" ? halfToFloat(new Uint16Array(data)) : new Float32Array(data) };
  };
  return Object.fromEntries(Object.entries(tensors).map(([name, tensor]) => [name, read(tensor)]));
}

function halfToFloat(halves) {
  return Float32Array.from(halves, (half) => {
    const sign = half >> 15 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
  });
}

// ---------------------------------------------------------------------------------------------------------
// Layers

/** [weight, bias] of a layer; the bias is undefined if it has none. */
const layerOf = (tensors, name) => [tensors[`${name}.weight`], tensors[`${name}.bias`]];

/** Each pixel's features at unit mean square, in place. */
function pixelNorm(x, maps) {
  const pixels = x.length / maps;
  for (let pixel = 0; pixel < pixels; pixel++) {
    let sum = 0;
    for (let i = pixel; i < x.length; i += pixels) sum += x[i] * x[i];
    const scale = 1 / Math.sqrt(sum / maps + 1e-8);
    for (let i = pixel; i < x.length; i += pixels) x[i] *= scale;
  }
  return x;
}

/** In place; slope: below zero. */
function leakyReLU(x, slope) {
  for (let i = 0; i < x.length; i++) if (x[i] < 0) x[i] *= slope;
  return x;
}

/** A fully connected layer. In the first one to maps, each bias is that of all rows of a map. */
function dense(inputs, weight, bias) {
  const x = new Float32Array(weight.shape[0]), rows = bias && x.length / bias.values.length;
  for (let i = 0; i < x.length; i++) {
    let sum = bias ? bias.values[Math.floor(i / rows)] : 0;
    const row = i * inputs.length;
    for (let j = 0; j < inputs.length; j++) sum += weight.values[row + j] * inputs[j];
    x[i] = sum;
  }
  return x;
}

/** A 1×1 convolution. */
function pointwise(x, weight, bias) {
  const [outputs, inputs] = weight.shape, pixels = x.length / inputs, y = new Float32Array(outputs * pixels);
  for (let output = 0; output < outputs; output++) {
    const sums = y.subarray(output * pixels, (output + 1) * pixels).fill(bias ? bias.values[output] : 0);
    for (let input = 0; input < inputs; input++) {
      const factor = weight.values[output * inputs + input], first = input * pixels;
      for (let i = 0; i < pixels; i++) sums[i] += factor * x[first + i];
    }
  }
  return y;
}

/** Each map with a border of zeros, after each pixel was repeated `scale` × `scale` times. */
function bordered(x, maps, side, scale) {
  const wide = side * scale + 2, result = new Float32Array(maps * wide * wide);
  for (let map = 0; map < maps; map++) {
    for (let row = 0; row < side * scale; row++) {
      const from = (map * side + Math.floor(row / scale)) * side, to = (map * wide + row + 1) * wide + 1;
      for (let column = 0; column < side * scale; column++) {
        result[to + column] = x[from + (scale === 2 ? column >> 1 : column)];
      }
    }
  }
  return result;
}

/** A 3×3 convolution. x: from `bordered`. Yields after each two maps, so that it can be run in slices. */
function* convolution(x, side, weight, bias) {
  const [outputs, inputs] = weight.shape, pixels = side * side, borderedPixels = (side + 2) * (side + 2);
  const biases = bias?.values ?? new Float32Array(outputs);
  const y = new Float32Array((outputs + outputs % 2) * pixels);
  for (let output = 0; output < outputs; output += 2) {
    const other = Math.min(output + 1, outputs - 1); // if their number is odd, the last one again
    y.fill(biases[output], output * pixels, (output + 1) * pixels);
    y.fill(biases[other], (output + 1) * pixels, (output + 2) * pixels);
    for (let input = 0; input < inputs; input++) {
      const kernel = 9 * (output * inputs + input), otherKernel = 9 * (other * inputs + input);
      addConvolved(y, output * pixels, side, x, input * borderedPixels, weight.values, kernel, otherKernel);
    }
    yield;
  }
  return y.subarray(0, outputs * pixels);
}

/**
 * Add a bordered map, at xi in x, convolved with the 3×3 kernels at k and l in w, to two maps, at i in y.
 * To read a pixel once for two maps takes half the time.
 */
function addConvolved(y, i, side, x, xi, w, k, l) {
  const k0 = w[k], k1 = w[k + 1], k2 = w[k + 2], k3 = w[k + 3], k4 = w[k + 4];
  const k5 = w[k + 5], k6 = w[k + 6], k7 = w[k + 7], k8 = w[k + 8];
  const l0 = w[l], l1 = w[l + 1], l2 = w[l + 2], l3 = w[l + 3], l4 = w[l + 4];
  const l5 = w[l + 5], l6 = w[l + 6], l7 = w[l + 7], l8 = w[l + 8];
  let j = i + side * side, top = xi;
  for (let row = 0; row < side; row++, top += 2) { // each row ends with two more pixels
    let middle = top + side + 2, bottom = middle + side + 2;
    let a = x[top], b = x[top + 1], d = x[middle], e = x[middle + 1], g = x[bottom], h = x[bottom + 1];
    for (const end = i + side; i < end; i++, j++, top++, middle++, bottom++) {
      const c = x[top + 2], f = x[middle + 2], m = x[bottom + 2];
      y[i] += k0 * a + k1 * b + k2 * c + k3 * d + k4 * e + k5 * f + k6 * g + k7 * h + k8 * m;
      y[j] += l0 * a + l1 * b + l2 * c + l3 * d + l4 * e + l5 * f + l6 * g + l7 * h + l8 * m;
      a = b; b = c; d = e; e = f; g = h; h = m;
    }
  }
}

// ---------------------------------------------------------------------------------------------------------
// The generators

const ARCHITECTURES = {
  progan: proganImage, stylegan: styleganImage, stylegan2: stylegan2Image, biggan: bigganImage,
};

/** "r0008" for 8. */
const levelKey = (side) => `r${String(side).padStart(4, "0")}`;

/** The index, in maps of half the side, of what lies under the pixel i of maps of this side. */
const indexBelow = (i, side) => (Math.floor(i / side) >> 1) * (side / 2) + ((i % side) >> 1);

/** request: {from, to, position, label, truncation}; level: {resolution, alpha, tensors}. Returns RGBA. */
function* makeImage(request, level, network) {
  const image = yield* ARCHITECTURES[network.architecture](request, level, network);
  return toPixels(image, level.resolution, network.tanh);
}

/** The latents of a request: between those of two seeds. */
function latentsOf({ from, to, position }, network) {
  return latentsBetween(...[from, to].map((seed) => latentsOfSeed(seed, network.latentSize)), position);
}

/** Move x towards the centre of its class, in place. */
function truncate(x, centers, { label, truncation }) {
  const center = centers.values.subarray(label * x.length);
  if (truncation < 1) x.forEach((value, i) => { x[i] = center[i] + truncation * (value - center[i]); });
  return x;
}

/** Fade `image` in, in place, over the image of half its side. */
function fade(image, previous, side, alpha) {
  image.forEach((value, i) => {
    const old = previous[indexBelow(i, side)];
    image[i] = old + alpha * (value - old);
  });
}

/** Rounded to bytes: RGBA of each pixel. */
function toPixels(image, side, tanh) {
  const pixels = side * side, rgba = new Uint8ClampedArray(4 * pixels).fill(255);
  for (let pixel = 0; pixel < pixels; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      const value = image[(channel * pixels + pixel) % image.length]; // grey: the same one again
      rgba[4 * pixel + channel] = 127.5 * (tanh ? Math.tanh(value) : value) + 127.5;
    }
  }
  return rgba;
}

/** The generators of all levels; their weights are decoded when they are needed. */
class Generators {
  /** levels: {resolution, alpha, weights} each; weights: a safetensors file, an ArrayBuffer. */
  constructor(network, levels) { Object.assign(this, { network, levels }); }

  /** The steps of an image; request.level counts the levels from the lowest. */
  image(request) {
    const level = this.levels[request.level];
    level.tensors ??= readTensors(level.weights);
    return makeImage(request, level, this.network);
  }
}

// In a worker: first the generators, then requests, each answered by its pixels.
if (typeof document === "undefined") {
  let generators;
  onmessage = ({ data }) => {
    if (data.levels) {
      generators = new Generators(data.network, data.levels);
      postMessage("ready");
      return;
    }
    const steps = generators.image(data);
    let step;
    do step = steps.next(); while (!step.done);
    postMessage(step.value);
  };
}
