// SPDX-License-Identifier: Apache-2.0
//
// Added to the page by test.sh, with PICTURES = { name: base64, ... }: prints the logits of each picture from
// each model, then uses the page as a person would, and prints what was found on it. "Prints" is to the console,
// each line between marks that test.sh looks for.
(async () => {
    const lines = [];
    const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
    const fileOf = (name) => new File([Uint8Array.from(atob(PICTURES[name]), (c) => c.charCodeAt(0))], name, { type: "image/png" });
    const drop = async (file) => {
        const held = new DataTransfer();
        held.items.add(file);
        say("");
        document.dispatchEvent(new DragEvent("drop", { dataTransfer: held }));
        for (let i = 0; i < 6000 && byId("said").textContent === ""; i++) await wait(10);
        return byId("said").textContent;
    };
    try {
        await ready;
        for (const model of ["digits-vit", "cifar10-swin"]) {
            load(model, embedded(model));
            for (const name of Object.keys(PICTURES))
                lines.push(`${model} ${name} ${classify(await pixelsOf(fileOf(name))).logits.join(",")}`);
        }
        load("digits-vit", embedded("digits-vit"));
        lines.push(`said ${(await drop(fileOf("large-7.png"))).replace(/[0-9.]+ ms/, "N ms")}`);
        lines.push(`class ${byId("classes").rows[0].cells[1].textContent}`);
        lines.push(`rows ${byId("classes").rows.length}`);
        const red = (id) => byId(id).getContext("2d").getImageData(0, 0, 28, 28).data.reduce((sum, v, i) => sum + (i % 4 === 0 ? v : 0), 0);
        lines.push(`attention ${!byId("heat").hidden && red("attention") > red("picture") ? "drawn" : "missing"}`);
        lines.push(`said ${await drop(new File(["no picture"], "text.png"))}`);
        lines.push(`said ${await drop(new File(["no model"], "text.gguf"))}`);
        lines.push(`said ${await drop(new File([embedded("cifar10-swin")], "mine.gguf"))}`);
        await drop(fileOf("large-7.png"));
        lines.push(`attention of a Swin ${byId("heat").hidden ? "hidden" : "shown"}`);
        lines.push(`resources ${performance.getEntriesByType("resource").filter((e) => !e.name.startsWith("blob:")).length}`);
        lines.push("end");
    } catch (error) {
        lines.push(`failed ${error.stack}`, "end");
    }
    for (const line of lines) console.log(`RESULT ${line} TLUSER`);
})();
