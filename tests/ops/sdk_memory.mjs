// sdk_memory.mjs - several processes with the memory tool of a vendor's SDK (@anthropic-ai/sdk, tools/memory/node.mjs,
// unchanged) each replace words of their own in one file. For sdk_memory.sh.
//
//   node sdk_memory.mjs SDK FOLDER PROCESSES ROUNDS [retry] [HISTORY]
//
// SDK is the folder of the package, FOLDER one for the tool. In each round each process replaces its word of that round, once,
// or with `retry` until that is acknowledged; then the next round begins. A reader views the file all the time. HISTORY is the
// folder with the kept states of the file, FOLDER/memories/shared.md, oldest first.
//
// Prints a line of JSON:
//   acknowledged, refused, errors    edits: success, ECANCELED, anything else (`error`: one of them)
//   lost, unasked                    words that were acknowledged and are not there; that were refused, and are, at the end
//   behind                           rounds after which what was there was not what was acknowledged by then
//   fewest                           acknowledged edits, in the round with the fewest
//   attempts                         of the edit that needed most of them
//   versions, forks                  kept states; of these how many are not the one before with one more word of those that
//                                    were acknowledged
//   views, strays                    what the reader saw; what was no kept state, or one older than it had seen before
import { fork } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const FILE = "/memories/shared.md";
const word = (process, round) => `<${process}.${round}>`;

async function open(sdk, folder) {
    const module = await import(pathToFileURL(path.join(sdk, "tools/memory/node.mjs")));
    return module.BetaLocalFilesystemMemoryTool.init(folder);
}

// The words that were replaced, as a sorted text.
const replaced = (content) => (content.match(/<\d+\.\d+> done/g) ?? []).map((w) => w.slice(0, -5)).sort().join(" ");

// ---- the processes

async function edit(tool, me, round, retry) {
    for (let attempts = 1; ; attempts++) {
        try {
            await tool.str_replace({
                command: "str_replace", path: FILE, old_str: `${word(me, round)} todo`, new_str: `${word(me, round)} done`,
            });
            return { acknowledged: true, attempts };
        } catch (error) {
            if (!retry || error.code !== "ECANCELED") return { code: error.code, message: error.message, attempts };
        }
    }
}

async function work(sdk, folder, me, retry) {
    const tool = await open(sdk, folder);
    process.on("message", async (round) => process.send(await edit(tool, me, round, retry)));
    process.send("ready");
}

async function read(sdk, folder) {
    const tool = await open(sdk, folder);
    const seen = [];
    let on = true;
    process.on("message", () => (on = false));
    process.send("ready");
    while (on) {
        const now = replaced(await tool.view({ command: "view", path: FILE }));
        if (now !== seen.at(-1)) seen.push(now);
        await new Promise(setImmediate);
    }
    process.send(seen);
}

// ---- the one that starts them

const answer = (child) => new Promise((resolve, reject) => {
    child.once("message", resolve);
    child.once("exit", () => reject(new Error("a process has ended")));
});

async function start(...args) {
    const child = fork(fileURLToPath(import.meta.url), args.map(String));
    child.setMaxListeners(0);
    await answer(child);
    return child;
}

function count(result, round, answers, expected) {
    let acknowledged = 0;
    answers.forEach((a, me) => {
        if (a.acknowledged) {
            acknowledged++;
            expected.push(word(me, round));
        } else if (a.code === "ECANCELED") result.refused++;
        else {
            result.errors++;
            result.error = `${a.code}: ${a.message}`;
        }
        result.attempts = Math.max(result.attempts, a.attempts);
    });
    result.acknowledged += acknowledged;
    result.fewest = Math.min(result.fewest, acknowledged);
}

// A state, by its number: the time in its name may become another one, by some ms, when a snapshot is dropped.
function read_state(folder, name) {
    try {
        return fs.readFileSync(path.join(folder, name), "utf8");
    } catch (error) {
        const same = fs.readdirSync(folder).find((n) => parseInt(n, 10) === parseInt(name, 10));
        if (error.code !== "ENOENT" || !same || same === name) throw error;
        return read_state(folder, same);
    }
}

// Each state is the one before, and one more edit that was acknowledged: nobody has replaced what he had not seen.
function check_history(result, folder, acknowledged, views) {
    const states = fs.readdirSync(folder).sort((a, b) => parseInt(a, 10) - parseInt(b, 10));
    const kept = states.map((name) => replaced(read_state(folder, name)))
        .filter((state, i, all) => state !== all[i - 1]);
    const all = new Set(acknowledged);
    result.versions = kept.length;
    result.forks = kept.filter((state, i) => {
        if (i === 0) return state !== "";
        const before = new Set(kept[i - 1].split(" ").filter(Boolean)), now = state.split(" ");
        const more = now.filter((w) => !before.has(w));
        return more.length !== 1 || now.length !== before.size + 1 || !all.has(more[0]);
    }).length;
    let at = 0;
    result.strays = views.filter((view) => {
        const found = kept.indexOf(view, at);
        at = found < 0 ? at : found;
        return found < 0;
    }).length;
}

async function drive(sdk, folder, processes, rounds, retry, history) {
    const tool = await open(sdk, folder), names = [...Array(processes).keys()];
    const result = { acknowledged: 0, refused: 0, errors: 0, lost: 0, unasked: 0, behind: 0, fewest: processes, attempts: 0 };
    const text = names.map((me) => [...Array(rounds).keys()].map((r) => `${word(me, r)} todo\n`).join("")).join("");
    await tool.create({ command: "create", path: FILE, file_text: text });
    const workers = await Promise.all(names.map((me) => start("worker", sdk, folder, me, retry)));
    const reader = await start("reader", sdk, folder);
    const acknowledged = [], where = path.join(folder, FILE);
    for (let round = 0; round < rounds; round++) {
        const answers = workers.map(answer);
        workers.forEach((w) => w.send(round));
        count(result, round, await Promise.all(answers), acknowledged);
        if (replaced(fs.readFileSync(where, "utf8")) !== [...acknowledged].sort().join(" ")) result.behind++;
    }
    const views = answer(reader);
    reader.send("end");
    const seen = await views;
    result.views = seen.length;
    [...workers, reader].forEach((child) => child.disconnect());
    const found = new Set(replaced(fs.readFileSync(where, "utf8")).split(" ").filter(Boolean));
    result.lost = acknowledged.filter((w) => !found.has(w)).length;
    result.unasked = found.size - (acknowledged.length - result.lost);
    if (history) check_history(result, history, acknowledged, seen);
    console.log(JSON.stringify(result));
}

const [first, ...rest] = process.argv.slice(2);
if (first === "worker") await work(rest[0], rest[1], Number(rest[2]), rest[3] === "true");
else if (first === "reader") await read(rest[0], rest[1]);
else {
    const [folder, processes, rounds, ...more] = rest;
    const retry = more[0] === "retry";
    await drive(first, folder, Number(processes), Number(rounds), retry, more[retry ? 1 : 0]);
}
