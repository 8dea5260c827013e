// Writes a JSON schema for each type of Grafana's that the dashboards consist of, into the folder schemas.
import { mkdirSync, writeFileSync } from "node:fs";
import { createGenerator } from "ts-json-schema-generator";

const TYPES = "node_modules/@grafana/schema/dist/esm/raw";
const DASHBOARD = `${TYPES}/dashboard/x/dashboard_types.gen.d.ts`;
const PANELS = { "state-timeline": "StateTimeline", stat: "Stat", table: "Table", timeseries: "TimeSeries" };

const wanted = { dashboard: [DASHBOARD, "Dashboard"], panel: [DASHBOARD, "Panel"] };
for (const [name, file] of Object.entries(PANELS)) {
  const path = `${TYPES}/composable/${name.replace("-", "")}/panelcfg/x/${file}PanelCfg_types.gen.d.ts`;
  wanted[`${name}.options`] = [path, "Options"];
  if (name !== "stat") wanted[`${name}.custom`] = [path, "FieldConfig"]; // a stat has no settings of its own for fields
}

mkdirSync("schemas", { recursive: true });
for (const [name, [path, type]] of Object.entries(wanted)) {
  const generator = createGenerator({ path, type, skipTypeCheck: true, additionalProperties: false });
  writeFileSync(`schemas/${name}.json`, JSON.stringify(generator.createSchema(type)));
}
