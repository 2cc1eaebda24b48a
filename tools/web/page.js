// SPDX-License-Identifier: Apache-2.0
//
// The page: pictures from files to the engine, classes and attention to the screen. The engine's memory may
// grow with every call, so views of it are made anew wherever it is looked into.
"use strict";

const byId = (id) => document.getElementById(id);
const embedded = (id) => Uint8Array.from(atob(byId(id).textContent.trim()), (c) => c.charCodeAt(0));

let engine; // the exports of the WebAssembly module
let loaded; // the name of the model in it

async function start() {
    // The library asks the outside for nothing that matters; what the C library could ask for says no.
    const refusing = new Proxy({}, { get: () => () => 0 });
    const { instance } = await WebAssembly.instantiate(embedded("engine"), { env: refusing, wasi_snapshot_preview1: refusing });
    engine = instance.exports;
    engine._initialize();
}

function text(address) {
    const memory = new Uint8Array(engine.memory.buffer);
    return new TextDecoder().decode(memory.subarray(address, memory.indexOf(0, address)));
}

// Calls run(address) with a copy of the bytes in the engine's memory.
function withBytes(bytes, run) {
    const address = engine.bridge_take(bytes.length);
    if (address === 0) throw new Error("not enough memory");
    try {
        new Uint8Array(engine.memory.buffer).set(bytes, address);
        if (run(address) !== 0) throw new Error(text(engine.bridge_message()));
    } finally {
        engine.bridge_give(address);
    }
}

function load(name, bytes) {
    if (loaded === name) return;
    withBytes(bytes, (address) => engine.bridge_load(address, bytes.length));
    loaded = name;
}

// The pixels as the file has them: no colour profile, no premultiplied alpha, no turning.
async function pixelsOf(file) {
    const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "none" });
    const canvas = document.createElement("canvas");
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

// { logits, top: [{ label, probability }], milliseconds } of the model that is loaded.
function classify(image) {
    const begun = performance.now();
    withBytes(image.data, (address) => engine.bridge_run(address, image.width, image.height));
    const milliseconds = performance.now() - begun;
    const classes = engine.bridge_classes();
    const top = [];
    for (let place = 0; place < Math.min(5, classes); place++) {
        const index = engine.bridge_top(place);
        top.push({ label: text(engine.bridge_label(index)) || `class ${index}`, probability: engine.bridge_probability(place) / 65536 });
    }
    return { logits: Array.from(new Int32Array(engine.memory.buffer, engine.bridge_logits(), classes)), top, milliseconds };
}

function drawPicture() {
    const width = engine.bridge_width();
    const height = engine.bridge_height();
    const rgb = new Uint8Array(engine.memory.buffer, engine.bridge_pixels(), 3 * width * height);
    const image = new ImageData(width, height);
    for (let i = 0; i < width * height; i++) image.data.set([rgb[3 * i], rgb[3 * i + 1], rgb[3 * i + 2], 255], 4 * i);
    for (const canvas of [byId("picture"), byId("attention")]) {
        canvas.width = width;
        canvas.height = height;
        canvas.getContext("2d").putImageData(image, 0, 0);
    }
}

// Lays a colour over every patch, the stronger the more the class token looks there.
function drawAttention() {
    const address = engine.bridge_attention();
    byId("heat").hidden = address === 0;
    if (address === 0) return;
    const patch = engine.bridge_patch();
    const columns = Math.floor(engine.bridge_width() / patch);
    const rows = Math.floor(engine.bridge_height() / patch);
    const weights = new Uint16Array(engine.memory.buffer, address, rows * columns);
    const most = Math.max(1, ...weights);
    const context = byId("attention").getContext("2d");
    weights.forEach((weight, i) => {
        context.fillStyle = `rgba(255, ${Math.round(200 * (1 - weight / most))}, 0, ${((0.75 * weight) / most).toFixed(3)})`;
        context.fillRect((i % columns) * patch, Math.floor(i / columns) * patch, patch, patch);
    });
}

function show(name, result) {
    const rows = result.top.map(({ label, probability }) => {
        const row = document.createElement("tr");
        const [share, named, bar] = [0, 1, 2].map(() => row.insertCell());
        share.textContent = `${(100 * probability).toFixed(1)} %`;
        named.textContent = label;
        bar.appendChild(document.createElement("i")).style.width = `${(8 * probability).toFixed(2)}rem`;
        return row;
    });
    byId("classes").replaceChildren(...rows);
    byId("seen").hidden = false;
    drawPicture();
    drawAttention();
    say(`${name}: ${result.milliseconds.toFixed(2)} ms with ${loaded}`);
}

function say(sentence, bad) {
    byId("said").textContent = sentence;
    byId("said").toggleAttribute("data-bad", Boolean(bad));
}

async function take(file) {
    try {
        if (file.name.endsWith(".gguf")) {
            load(file.name, new Uint8Array(await file.arrayBuffer()));
            say(`${file.name} is loaded, ${engine.bridge_classes()} classes; now a picture`);
            return;
        }
        let image;
        try {
            image = await pixelsOf(file);
        } catch {
            throw new Error("this browser cannot read it as a picture");
        }
        show(file.name, classify(image));
    } catch (error) {
        say(`${file.name}: ${error.message}`, true);
    }
}

const ready = start().then(() => {
    const choose = () => load(byId("model").value, embedded(byId("model").value));
    choose();
    byId("model").addEventListener("change", choose);
    byId("file").addEventListener("change", (event) => event.target.files.length && take(event.target.files[0]));
    const drop = byId("drop");
    for (const kind of ["dragover", "dragleave", "drop"]) {
        document.addEventListener(kind, (event) => {
            event.preventDefault();
            drop.classList.toggle("over", kind === "dragover");
        });
    }
    document.addEventListener("drop", (event) => event.dataTransfer.files.length && take(event.dataTransfer.files[0]));
});
ready.catch((error) => say(`The engine does not start: ${error.message}`, true));
