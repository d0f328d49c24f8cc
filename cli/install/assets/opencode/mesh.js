// Tells the mesh what opencode's sessions work on, and brings them its news. Written by `meshctl install opencode`,
// removed by `meshctl uninstall opencode`; what is changed here is lost with the next install.
//
// Each event becomes one run of `meshctl hook opencode`, with a JSON object on its standard input; what it answers is
// done here: `deny` throws, which opencode shows to the model as the tool's error; `context` becomes part of what the
// model reads next; `go_on` prompts the session; `notice` is shown to the user; `title` names the session. While a
// session is idle, `meshctl hook opencode wait` waits for its mail. Whatever fails, opencode goes on as if this file
// were not there.

import { spawn } from "node:child_process";

const MESHCTL = "meshctl";
const ANSWER_MS = 5000;
// Where a tool works; what it writes is nobody's business but in a patch, which names its files inside.
const ARGS = ["filePath", "path", "command", "workdir", "patchText"];

export const MeshPlugin = async ({ client, directory }) => {
  // By session: its parent, what waits to be told, the process that waits for mail, whether a turn went on once.
  const sessions = new Map();

  const run = (words, message, timeout) => {
    const child = spawn(MESHCTL, ["hook", "opencode", ...words], { cwd: directory, stdio: ["pipe", "pipe", "ignore"] });
    const done = new Promise((resolve) => {
      let out = "";
      const timer = timeout && setTimeout(() => child.kill(), timeout);
      child.stdout.on("data", (data) => (out += data));
      child.stdin.on("error", () => {});
      child.on("error", () => resolve({ code: -1, out: "" }));
      child.on("close", (code) => {
        clearTimeout(timer);
        resolve({ code, out });
      });
      child.stdin.end(JSON.stringify(message));
    });
    return { child, done };
  };

  const message = (event, id, more) => {
    const { parentID, agent, version } = sessions.get(id) ?? {};
    return { event, sessionID: id, parentID, agent, version, cwd: directory, pid: process.pid, ...more };
  };

  const ask = async (event, id, more) => {
    const { out } = await run([], message(event, id, more), ANSWER_MS).done;
    let answer = {};
    try {
      answer = JSON.parse(out || "{}");
    } catch {}
    if (answer.notice) {
      client.tui.showToast({ body: { title: "mesh", message: answer.notice, variant: "info" } }).catch(() => {});
    }
    if (answer.title) client.session.update({ path: { id }, body: { title: answer.title } }).catch(() => {});
    return answer;
  };

  // A session that goes on from another day was made before this process knew of it.
  const meet = async (id, info) => {
    if (!id || sessions.has(id)) return;
    const known = { pending: [] };
    sessions.set(id, known);
    const source = info ? "startup" : "resume";
    try {
      info ??= (await client.session.get({ path: { id } })).data;
    } catch {}
    known.parentID = info?.parentID;
    known.version = info?.version;
    const { context } = await ask("session.created", id, { source });
    if (context) known.pending.push(context);
  };

  const rest = (id) => {
    const known = sessions.get(id);
    known?.waiting?.kill();
    if (known) known.waiting = undefined;
  };

  const prompt = (id, text) =>
    client.session.promptAsync({ path: { id }, body: { parts: [{ type: "text", text, synthetic: true }] } });

  // Until there is mail, or the session has something else to do.
  const wait = async (id) => {
    const known = sessions.get(id);
    if (!known || known.parentID || known.waiting) return;
    const { child, done } = run(["wait"], message("session.idle", id));
    known.waiting = child;
    const { code, out } = await done;
    const text = code === 0 ? out.trim() : "";
    // Something else came first: what was taken from the mesh goes along with the next prompt.
    if (known.waiting !== child) {
      if (text) known.pending.push(text);
      return;
    }
    known.waiting = undefined;
    if (text) await prompt(id, text).catch(() => known.pending.push(text));
  };

  const idle = async (id) => {
    await meet(id);
    const known = sessions.get(id);
    const answer = await ask("session.idle", id, { again: known.again === true });
    known.again = Boolean(answer.go_on);
    if (answer.go_on) return prompt(id, answer.go_on);
    wait(id).catch(() => {});
  };

  const leave = async (id) => {
    rest(id);
    const told = sessions.has(id) && ask("session.deleted", id);
    sessions.delete(id);
    await told;
  };

  const args = (all) => Object.fromEntries(ARGS.filter((name) => name in (all ?? {})).map((name) => [name, all[name]]));

  const safely = (work) => async (...input) => {
    try {
      await work(...input);
    } catch {}
  };

  // Ids of parts are sorted by the time in them.
  const partId = () => {
    const time = (BigInt(Date.now()) * 0x1000n).toString(16).slice(-12).padStart(12, "0");
    return `prt_${time}${Math.random().toString(36).slice(2).padEnd(14, "0").slice(0, 14)}`;
  };

  return {
    event: safely(async ({ event: { type, properties } }) => {
      const id = properties?.sessionID ?? properties?.info?.id;
      if (type === "session.created") await meet(id, properties.info);
      else if (type === "session.idle") await idle(id);
      else if (type === "session.deleted") await leave(id);
      else if (type === "session.error" && sessions.has(id)) await ask(type, id);
      else if (type === "session.compacted") {
        await meet(id);
        const { context } = await ask(type, id);
        if (context) sessions.get(id).pending.push(context);
      }
    }),

    "chat.message": safely(async ({ sessionID, agent }, output) => {
      rest(sessionID);
      await meet(sessionID);
      const known = sessions.get(sessionID);
      known.agent = agent;
      const { context } = await ask("chat.message", sessionID);
      const text = [...known.pending.splice(0), ...(context ? [context] : [])].join("\n\n");
      if (!text) return;
      const messageID = output.message.id;
      output.parts.push({ id: partId(), sessionID, messageID, type: "text", text, synthetic: true });
    }),

    "tool.execute.before": async ({ tool, sessionID }, output) => {
      let answer = {};
      await safely(async () => {
        await meet(sessionID);
        answer = await ask("tool.execute.before", sessionID, { tool, args: args(output.args) });
        if (answer.context && !answer.deny) sessions.get(sessionID).pending.push(answer.context);
      })();
      if (answer.deny) throw new Error(answer.deny);
    },

    "tool.execute.after": safely(async ({ tool, sessionID, args: given }, output) => {
      await meet(sessionID);
      const known = sessions.get(sessionID);
      const { context } = await ask("tool.execute.after", sessionID, { tool, args: args(given) });
      const text = [...known.pending.splice(0), ...(context ? [context] : [])].join("\n\n");
      if (text && typeof output?.output === "string") output.output += `\n\n${text}`;
    }),

    dispose: safely(async () => {
      await Promise.all([...sessions.keys()].map(leave));
    }),
  };
};
