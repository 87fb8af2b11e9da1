/** The one table of the operators' routes: what is not in it does not exist, and what is in it asks who is there. */
import { backendRoutes } from "./backends.ts";
import { clientRoutes } from "./clients.ts";
import { documentOf } from "./openapi.ts";
import { overviewRoutes } from "./overview.ts";
import { define, nothing, told } from "./route.ts";
import type { OperatorRoute } from "./route.ts";
import { settingRoutes } from "./settings.ts";

const documentRoute: OperatorRoute = define({
  method: "GET",
  path: "/openapi.json",
  role: "viewer",
  name: "readDocument",
  summary: "This document.",
  parameters: nothing,
  query: nothing,
  body: null,
  status: 200,
  answer: "Document",
  failures: [],
  run: async () => told(documentOf(operatorRoutes)),
});

export const operatorRoutes: readonly OperatorRoute[] = [
  ...overviewRoutes,
  ...backendRoutes,
  ...clientRoutes,
  ...settingRoutes,
  documentRoute,
];
