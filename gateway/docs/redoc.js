import { init } from "./redoc.js";

// It would tell its makers that it is used.
init("openapi.json", { disableTelemetry: true }, document.getElementById("page"));
