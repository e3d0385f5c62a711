"use strict";
// Runs the shaders of explore_shaders.wgsl on the graphics processor, for large networks of Progressive GAN.

const BINDINGS = ["layer", "request", "weights", "x", "y", "previous", "pixels"];

/** The shaders of a network, in WGSL. */
const shaders = ({ activation, channels, tanh }) => `
const SLOPE: f32 = ${activation === "leaky-relu" ? 0.2 : 0};
const CHANNELS: u32 = ${channels};
const TANH = ${tanh};
${document.getElementById("shaders").textContent}`;

/** The steps of one level's images: shaders with their buffers. */
class WebGPULevel {
  /** pipeline: of a shader, by its name. level: see `Generators`. buffers: those that all levels share. */
  constructor(device, pipeline, network, { resolution, alpha, weights: bytes }, buffers) {
    const { dataStart, tensors } = readHeader(bytes);
    Object.assign(this, { device, pipeline, tensors, resolution, steps: [] });
    const weights = filledBuffer(device, new Uint8Array(bytes, dataStart), GPUBufferUsage.STORAGE);
    this.addSteps(network, alpha, { weights, ...buffers });
  }

  addSteps(network, alpha, { weights, inputs, request, features, previous, pixels }) {
    let [y, x] = features, side = 4;
    const finish = (layer) => {
      if (network.pixelNorm) this.add("pixelNorm", [side ** 2 / 64], layer, { y });
      [x, y] = [y, x];
    };
    const convolve = (name, scale) => {
      side *= scale;
      const layer = this.layer(name, side, { scale });
      this.add("convolve", [side / 8, side / 8, layer.outputs / 16], layer, { weights, x, y });
      finish(layer);
    };

    const dense = this.layer("blocks.r0004.dense", side);
    this.add("dense", [dense.outputs / 4], dense, { weights, x: inputs, y });
    finish(dense);
    if (network.convsPerBlock > 1) convolve("blocks.r0004.conv", 1);
    const centers = { ...dense, weight: this.start("centers") };
    this.add("truncate", [dense.outputs / 4], centers, { request, weights, y: x });
    while (side < this.resolution) {
      if (2 * side === this.resolution && alpha < 1) {
        const rgb = this.layer(`to_rgb.${levelKey(side)}`, side);
        this.add("toRGB", [side ** 2 / 64], rgb, { weights, x, y: previous });
      }
      const block = `blocks.${levelKey(2 * side)}`;
      convolve(`${block}.conv0`, 2);
      if (network.convsPerBlock > 1) convolve(`${block}.conv1`, 1);
    }
    const rgb = this.layer(`to_rgb.${levelKey(side)}`, side, { alpha });
    this.add("toPixels", [side ** 2 / 64], rgb, { weights, x, previous, pixels });
  }

  /** The struct Layer of the shaders, in its order. */
  layer(name, side, { scale = 1, alpha = 1 } = {}) {
    const weight = `${name}.weight`, bias = `${name}.bias`;
    const [outputs] = this.tensors[bias].shape, { dtype, shape: [, inputs] } = this.tensors[weight];
    const half = dtype === "F16" ? 1 : 0;
    return { inputs, outputs, side, scale, weight: this.start(weight), bias: this.start(bias), half, alpha };
  }

  /** The index of a tensor's first element in the weights. */
  start(name) {
    const { dtype, data_offsets: [begin] } = this.tensors[name];
    return begin / BYTES[dtype];
  }

  /** workgroups: along each axis; rounded up. */
  add(shader, workgroups, { alpha, ...counts }, buffers) {
    const numbers = Uint32Array.of(...Object.values(counts), 0);
    new Float32Array(numbers.buffer)[7] = alpha;
    const bound = { layer: filledBuffer(this.device, numbers, GPUBufferUsage.UNIFORM), ...buffers };
    const entries = Object.entries(bound).map(
      ([name, buffer]) => ({ binding: BINDINGS.indexOf(name), resource: { buffer } }));
    const pipeline = this.pipeline(shader);
    const group = this.device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries });
    this.steps.push({ pipeline, group, workgroups: workgroups.map(Math.ceil) });
  }

  /** Each step is submitted by itself: one that takes too long is taken for a processor that hangs. */
  run() {
    for (const { pipeline, group, workgroups } of this.steps) {
      const encoder = this.device.createCommandEncoder(), pass = encoder.beginComputePass();
      pass.setPipeline(pipeline);
      pass.setBindGroup(0, group);
      pass.dispatchWorkgroups(...workgroups);
      pass.end();
      this.device.queue.submit([encoder.finish()]);
    }
  }
}

/** A new buffer that holds a typed array. */
function filledBuffer(device, array, usage) {
  const size = Math.ceil(array.byteLength / 4) * 4;
  const buffer = device.createBuffer({ size, usage, mappedAtCreation: true });
  new array.constructor(buffer.getMappedRange()).set(array);
  buffer.unmap();
  return buffer;
}

/** The generators of all levels; a level's weights are uploaded when they are needed. */
class WebGPUGenerators {
  /** Null if the browser has no WebGPU, or the processor no buffers as large as the networks need. */
  static async start({ network, levels }) {
    const features = largestFeatures(levels.at(-1));
    const bytes = Math.max(features, ...levels.map(({ weights }) => weights.byteLength));
    const requiredLimits = { maxBufferSize: bytes, maxStorageBufferBindingSize: bytes };
    const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
    const device = await adapter?.requestDevice({ requiredLimits }).catch(() => null);
    return device ? new WebGPUGenerators(device, network, levels, features) : null;
  }

  constructor(device, network, levels, features) {
    const { STORAGE, UNIFORM, COPY_DST, COPY_SRC, MAP_READ } = GPUBufferUsage;
    const buffer = (size, usage) => device.createBuffer({ size, usage });
    const pixels = 4 * levels.at(-1).resolution ** 2;
    this.buffers = {
      inputs: buffer(4 * (network.latentSize + network.labels), STORAGE | COPY_DST),
      request: buffer(8, UNIFORM | COPY_DST),
      features: [buffer(features, STORAGE), buffer(features, STORAGE)],
      previous: buffer(pixels, STORAGE),
      pixels: buffer(pixels, STORAGE | COPY_SRC),
    };
    const module = device.createShaderModule({ code: shaders(network) }), pipelines = {};
    this.pipeline = (entryPoint) => pipelines[entryPoint] ??=
      device.createComputePipeline({ layout: "auto", compute: { module, entryPoint } });
    Object.assign(this, { device, network, levels, prepared: [], copy: buffer(pixels, COPY_DST | MAP_READ) });
  }

  /** The RGBA of an image, one at a time; request: see `makeImage`. */
  async image(request) {
    const { device, network, buffers, copy } = this, { queue } = device;
    const level = this.prepared[request.level] ??=
      new WebGPULevel(device, this.pipeline, network, this.levels[request.level], buffers);
    queue.writeBuffer(buffers.inputs, 0, inputsOf(request, network));
    queue.writeBuffer(buffers.request, 0, Float32Array.of(request.truncation, request.label));
    level.run();
    const encoder = device.createCommandEncoder(), size = 4 * level.resolution ** 2;
    encoder.copyBufferToBuffer(buffers.pixels, 0, copy, 0, size);
    queue.submit([encoder.finish()]);
    await copy.mapAsync(GPUMapMode.READ, 0, size);
    const rgba = new Uint8ClampedArray(copy.getMappedRange(0, size).slice(0));
    copy.unmap();
    return rgba;
  }
}

/** Bytes of the largest features of a level. */
function largestFeatures({ weights }) {
  const { tensors } = readHeader(weights);
  const biases = Object.keys(tensors).filter((name) => /^blocks.*bias$/.test(name)); // blocks.r0008.…
  return Math.max(...biases.map((name) => 4 * tensors[name].shape[0] * Number(name.slice(8, 12)) ** 2));
}
