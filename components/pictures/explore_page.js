"use strict";
// The page: its controls say what each tile shall show, and the runners draw the tiles, the first one first.

const GRID = 24, SLICE_MS = 12, GAP = 2;
const FAST = 2e8; // multiplications an image in plain JavaScript, of which one core makes 1e9 a second
const facts = JSON.parse(document.getElementById("facts").textContent);
const at = (id) => document.getElementById(id);

// ---------------------------------------------------------------------------------------------------------
// Runners: WebGPU for large networks of Progressive GAN; workers for others, or the page itself where workers
// are blocked

/** The levels with their weights, which the page has in base64. */
function decodedLevels() {
  const scripts = document.querySelectorAll(".weights");
  return facts.levels.map(({ resolution, alpha }, level) => {
    const text = atob(scripts[level].textContent), bytes = new Uint8Array(text.length);
    for (let i = 0; i < bytes.length; i++) bytes[i] = text.charCodeAt(i);
    return { resolution, alpha, weights: bytes.buffer };
  });
}

/** A worker that has the generators; fails if the browser does not allow it. */
function startWorker(generators) {
  return new Promise((resolve, reject) => {
    const source = new Blob([at("generator").textContent], { type: "text/javascript" });
    const worker = new Worker(URL.createObjectURL(source));
    worker.onerror = reject;
    worker.onmessage = () => resolve((request) => new Promise((answer) => {
      worker.onmessage = ({ data }) => answer(data);
      worker.postMessage(request);
    }));
    worker.postMessage({ network: generators.network, levels: generators.levels });
  });
}

/** Runs the steps of an image here, in slices between which the page can react. */
async function runInSlices(steps) {
  let began = performance.now();
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
    if (performance.now() - began > SLICE_MS) {
      await new Promise((resume) => setTimeout(resume));
      began = performance.now();
    }
  }
}

function gpuRunner(gpu) {
  gpu.device.lost.then(({ message }) => refuse(`The graphics processor stopped; reload the page. ${message}`));
  gpu.device.onuncapturederror = ({ error }) => refuse(`The graphics processor failed: ${error.message}`);
  return (request) => gpu.image(request);
}

async function startRunners() {
  const generators = new Generators(facts.network, decodedLevels());
  if (facts.network.architecture === "progan" && facts.levels.at(-1).multiplications > FAST) {
    const gpu = await WebGPUGenerators.start(generators);
    if (gpu) return [gpuRunner(gpu)];
    leaveOutSlowLevels();
    if (!facts.levels.length) return [];
    generators.levels.splice(facts.levels.length);
  }
  const count = Math.min(Math.max((navigator.hardwareConcurrency ?? 2) - 1, 1), 4);
  try {
    return await Promise.all(Array.from({ length: count }, () => startWorker(generators)));
  } catch {
    return [(request) => runInSlices(generators.image(request))];
  }
}

// ---------------------------------------------------------------------------------------------------------
// Tiles

/** A canvas, and the request whose image it shall show. */
class Tile {
  constructor(canvas) { Object.assign(this, { canvas, wanted: null, begun: null, running: false }); }

  get waits() { return JSON.stringify(this.wanted) !== JSON.stringify(this.begun); }

  draw(rgba) {
    const side = Math.sqrt(rgba.length / 4);
    if (this.canvas.width !== side) this.canvas.width = this.canvas.height = side;
    this.canvas.getContext("2d").putImageData(new ImageData(rgba, side), 0, 0);
  }
}

let idle = [];

/** Give the waiting tiles to the idle runners. */
function dispatch() {
  for (const tile of tiles) tile.canvas.ariaBusy = String(tile.waits || tile.running);
  const ready = tiles.filter((tile) => tile.waits && !tile.running); // a tile's images come one by one
  for (const tile of ready.slice(0, idle.length)) run(idle.pop(), tile);
}

async function run(runner, tile) {
  [tile.begun, tile.running] = [tile.wanted, true];
  tile.draw(await runner(tile.begun));
  tile.running = false;
  idle.push(runner);
  dispatch();
}

// ---------------------------------------------------------------------------------------------------------
// Controls

const image = new Tile(at("image")), ends = { from: new Tile(at("from-image")), to: new Tile(at("to-image")) };
const grid = Array.from({ length: GRID }, gridTile);
const tiles = [image, ends.from, ends.to, ...grid];
let firstSeed = 0, marked = "from";

function gridTile(_, number) {
  const button = document.createElement("button"), seed = document.createElement("span");
  const tile = new Tile(document.createElement("canvas"));
  button.append(tile.canvas, seed);
  button.onclick = () => {
    at(marked).value = firstSeed + number;
    at("position").value = marked === "from" ? 0 : 100;
    update();
  };
  at("grid").append(button);
  return Object.assign(tile, { button, seed });
}

const seedAt = (id) => Math.min(Math.max(Math.floor(at(id).valueAsNumber) || 0, 0), Number.MAX_SAFE_INTEGER);
const className = () => facts.classes[at("label").value] ?? "";

/** Say what each tile shall show, and what the texts say of it. */
function update() {
  const level = Number(at("level").value), position = at("position").value / 100;
  const truncation = at("truncation").value / 100, label = Number(at("label").value);
  const [from, to] = [seedAt("from"), seedAt("to")];
  const request = (from, to = from, position = 0) => ({ from, to, position, label, truncation, level });
  image.wanted = position === 1 ? request(to) : request(from, position ? to : from, position);
  ends.from.wanted = request(from);
  ends.to.wanted = request(to);
  grid.forEach((tile, number) => {
    tile.wanted = request(firstSeed + number);
    tile.seed.textContent = firstSeed + number;
    tile.button.setAttribute("aria-label", `Seed ${firstSeed + number}`);
  });
  describe(facts.levels[level], { from, to, position, truncation });
  dispatch();
}

function describe(level, { from, to, position, truncation }) {
  const side = `${level.resolution} × ${level.resolution} px`;
  const kimg = level.kimg?.toLocaleString("en", { maximumFractionDigits: 1 });
  at("about").textContent = kimg ? `${side}, trained for ${kimg} kimg (thousands of real images shown)` : side;
  at("level-text").textContent = side;
  at("position-text").textContent = `${Math.round(100 * position)} %`;
  at("truncation-text").textContent = truncation.toFixed(2);
  at("seeds").textContent = `Seeds ${firstSeed} to ${firstSeed + GRID - 1}`;
  at("previous").disabled = firstSeed === 0;
  at("page").classList.toggle("small", level.resolution <= 128);
  at("image").setAttribute("aria-label", `Generated image, ${imageName()}`);
  for (const end of ["from", "to"]) at(`choose-${end}`).setAttribute("aria-pressed", end === marked);
  at("command").hidden = !level.source || (position > 0 && position < 1);
  const label = facts.classes.length ? ` --label ${at("label").value}` : "", seed = position === 1 ? to : from;
  at("command").querySelector("pre").textContent = `progan generate ${level.source} --seeds ${seed}${label} \\
    --truncation ${truncation} --out ${imageName()}`;
}

/** Leave out the levels that plain JavaScript is too slow for. */
function leaveOutSlowLevels() {
  const levels = facts.levels.filter(({ multiplications }) => multiplications <= facts.slowest);
  const largest = facts.levels.at(-1);
  if (levels.includes(largest)) return;
  const where = isSecureContext
    ? "which this browser does not offer on this machine."
    : "which browsers offer only over HTTPS and in files: download this page and open it.";
  refuse(`Images of ${largest.resolution} × ${largest.resolution} px need WebGPU, ${where}`);
  facts.levels = levels;
  at("page").hidden = !levels.length;
  if (levels.length) showLevels();
}

/** Say why there is no image, and how a terminal makes it. */
function refuse(sentence) {
  at("refusal").hidden = false;
  at("refusal").querySelector("p").textContent = sentence;
  const source = facts.levels.at(-1).source ?? "GENERATOR";
  at("refusal").querySelector("pre").textContent = `progan generate ${source} --seeds 0-63 --out images.png`;
}

/** The name of the image's file. */
function imageName() {
  const { from, to, position } = image.wanted;
  const seeds = position ? `seed${from}-seed${to}-${Math.round(100 * position)}` : `seed${from}`;
  return `${fileName(seeds)}.png`;
}

const fileName = (end) => [className(), end].filter(Boolean).join("-").replace(/[^\p{L}\p{N}._+-]/gu, "_");

// ---------------------------------------------------------------------------------------------------------
// Files

function save(canvas, name) {
  canvas.toBlob((blob) => {
    const link = document.createElement("a");
    Object.assign(link, { href: URL.createObjectURL(blob), download: name });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }, "image/png");
  at("framed").hidden = window.self === window.top; // a sandboxed frame saves nothing and says nothing
}

/** All images of the grid, at their own size. */
function sheet() {
  const columns = 6, step = grid[0].canvas.width + GAP, canvas = document.createElement("canvas");
  canvas.width = columns * step - GAP;
  canvas.height = Math.ceil(GRID / columns) * step - GAP;
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  grid.forEach((tile, number) => {
    context.drawImage(tile.canvas, (number % columns) * step, Math.floor(number / columns) * step);
  });
  return canvas;
}

// ---------------------------------------------------------------------------------------------------------
// Start

/** Show the highest level, and let people choose between them if there are several. */
function showLevels() {
  at("level").max = at("level").value = facts.levels.length - 1;
  at("level-control").hidden = facts.levels.length === 1;
  update();
}

function prepareControls() {
  facts.classes.forEach((name, label) => at("label").add(new Option(name, label)));
  if (!facts.classes.length) at("label").add(new Option("", 0));
  at("label-control").hidden = !facts.classes.length;
  [at("from").value, at("to").value] = [0, 1];
  for (const id of ["from", "to", "position", "truncation", "label", "level"]) at(id).oninput = update;
  for (const end of ["from", "to"]) at(`choose-${end}`).onclick = () => { marked = end; update(); };
  const turn = (seeds) => () => { firstSeed = Math.max(firstSeed + seeds, 0); update(); };
  [at("previous").onclick, at("next").onclick] = [turn(-GRID), turn(GRID)];
  at("random").onclick = () => {
    for (const end of ["from", "to"]) at(end).value = Math.floor(Math.random() * 1e6);
    update();
  };
  at("save").onclick = () => save(image.canvas, imageName());
  at("save-grid").onclick = () => save(sheet(), `${fileName(`seeds${firstSeed}-${firstSeed + GRID - 1}`)}.png`);
}

prepareControls();
showLevels();
startRunners().then((runners) => {
  idle = runners;
  dispatch();
});
