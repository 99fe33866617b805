// A backend with Express: it says who asks, and what it was sent.
import express from "express";

import { narrows } from "./narrows.mjs";

// Whatever nobody holds goes soon: nothing may hang on that it stays.
setInterval(globalThis.gc ?? (() => {}), 250).unref();
const app = express();
app.use(narrows());
app.use(express.raw({ type: () => true, limit: "2mb" }));
app.use((req, res) => {
  const said = req.narrows ? { subject: req.narrows.subject, route: req.narrows.route } : {};
  const body = req.body === undefined || Buffer.isBuffer(req.body) ? { length: req.body?.length ?? 0 } : { body: req.body };
  res.json({ ...said, ...body });
});
const server = app.listen(0, "127.0.0.1", () => console.log(server.address().port));
