/**
 * From the schema of a question to the fields of a form, from what was typed to the answer, and from what
 * the server says against it to the field that it is about. No DOM.
 *
 * @typedef {{value: any, text: string}} Option
 * @typedef {{name: string | null, label: string, description: string, required: boolean, multiline: boolean,
 *   kind: "text" | "number" | "yesno" | "choice" | "several" | "lines" | "json", options: Option[],
 *   initial: any, schema: any}} Field
 *   name: the property that it is; null: it is the whole answer. What was typed (the raw value) is for
 *   `yesno` whether it is ticked, for `choice` the number of an option (-1: none), for `several` those of the
 *   ticked ones, and a text for the others.
 */

/** Half of a surrogate pair, as an emoji leaves behind that was cut in two: no message can hold it. */
const HALVES = /\p{Surrogate}/gu;
/** Texts that may be longer than this get more than one line. */
const LINE = 200;

/** @param {any} value */
const textOf = (value) => (typeof value === "string" ? value : value === null ? "none" : JSON.stringify(value));

/** @param {any} value */
const same = (value) => JSON.stringify(value);

/** @param {any} schema @returns {Field["kind"]} */
function kindOf(schema) {
  if (schema.enum || schema.type === "null") return "choice";
  switch (schema.type) {
    case "integer": case "number": return "number";
    case "boolean": return "yesno";
    case "object": return "json";
    case "array":
      if (schema.items?.enum) return "several";
      return schema.items?.type === "string" ? "lines" : "json";
    default: return "text"; // a text fits where nothing is said of the type
  }
}

/** What is in the field before anybody has typed. @param {Field["kind"]} kind @param {any} value
 * @param {Option[]} options @returns {any} */
function rawOf(kind, value, options) {
  const at = (/** @type {any} */ wanted) => options.findIndex((option) => same(option.value) === same(wanted));
  switch (kind) {
    case "yesno": return value === true;
    case "choice": return value === undefined ? -1 : at(value);
    case "several": return (Array.isArray(value) ? value : []).map(at).filter((index) => index >= 0);
    case "lines": return (Array.isArray(value) ? value : []).join("\n");
    case "json": return value === undefined ? "" : JSON.stringify(value, null, 1);
    default: return value === undefined || value === null ? "" : String(value);
  }
}

/** @param {any} schema @param {string | null} name @param {boolean} required @returns {Field} */
function fieldOf(schema, name, required) {
  const kind = kindOf(schema);
  const values = schema.type === "null" ? [null] : (kind === "several" ? schema.items.enum : schema.enum) ?? [];
  const options = values.map((/** @type {any} */ value) => ({ value, text: textOf(value) }));
  return {
    name, kind, options, required, schema,
    label: schema.title ?? (name === null ? "Your answer" : name.replaceAll("_", " ")),
    description: schema.description ?? "",
    multiline: kind === "json" || kind === "lines" || (kind === "text" && schema.maxLength > LINE),
    initial: rawOf(kind, schema.default, options),
  };
}

/** The fields of a form whose answer fits `schema`, in its order. @param {any} schema @returns {Field[]} */
export function fieldsOf(schema) {
  if (!schema.properties || schema.enum || !["object", undefined].includes(schema.type)) return [fieldOf(schema, null, true)];
  const required = new Set(schema.required ?? []);
  return Object.entries(schema.properties).map(([name, inner]) => fieldOf(inner, name, required.has(name)));
}

/** Whether a press on a button is the whole answer. @param {Field[]} fields */
export function isPressed(fields) {
  const [field] = fields;
  if (fields.length !== 1 || field.name !== null) return false;
  return field.kind === "yesno" || (field.kind === "choice" && field.options.length <= 6);
}

/** The value of one field: undefined if it is left out. Throws what is wrong with it, as a text.
 * @param {Field} field @param {any} raw */
function valueOf(field, raw) {
  switch (field.kind) {
    case "yesno": return raw === true;
    case "choice": return field.options[raw]?.value;
    case "several": return raw.length || field.required ? raw.map((/** @type {number} */ at) => field.options[at].value) : undefined;
    case "number": {
      if (raw.trim() === "") return undefined;
      if (!Number.isFinite(Number(raw))) throw "This is no number.";
      return Number(raw);
    }
    case "lines": {
      const lines = raw.split("\n").filter((/** @type {string} */ line) => line.trim() !== "");
      return lines.length || field.required ? lines.map((/** @type {string} */ line) => line.replace(HALVES, "\ufffd")) : undefined;
    }
    case "json": {
      if (raw.trim() === "") return undefined;
      try {
        return JSON.parse(raw.replace(HALVES, "\ufffd"));
      } catch (error) {
        throw `This is no JSON: ${/** @type {Error} */ (error).message}`;
      }
    }
    default: return raw === "" && !field.required ? undefined : raw.replace(HALVES, "\ufffd");
  }
}

/**
 * The answer that was typed, or what keeps it from being one. Only what has no value at all is told here;
 * whether a value fits is the server's to say.
 * @param {Field[]} fields @param {any[]} raws @returns {{value: any, problems: Map<number, string>}}
 */
export function answerOf(fields, raws) {
  /** @type {Map<number, string>} */
  const problems = new Map();
  /** @type {any} */
  let value = {};
  fields.forEach((field, at) => {
    try {
      const given = valueOf(field, raws[at]);
      if (given === undefined && field.required) throw "This is needed.";
      if (field.name === null) value = given;
      else if (given !== undefined) Object.defineProperty(value, field.name, { value: given, enumerable: true });
    } catch (problem) {
      if (typeof problem !== "string") throw problem;
      problems.set(at, problem);
    }
  });
  return { value, problems };
}

/**
 * Which field the server's word against an answer is about (-1: none of them), and what it says of it.
 * @param {string} message @param {Field[]} fields @returns {{at: number, text: string}}
 */
export function faultIn(message, fields) {
  const missing = /^the answer has no (['"])(.*)\1; /.exec(message)?.[2];
  let found = -1;
  let length = 0;
  fields.forEach((field, at) => {
    const start = field.name === null ? "the answer" : `the answer.${field.name}`;
    if (!message.startsWith(start) || !/^[ .[]/.test(message.slice(start.length)) || start.length <= length) return;
    found = at;
    length = start.length;
  });
  if (missing !== undefined && fields.some((field) => field.name === missing)) {
    return { at: fields.findIndex((field) => field.name === missing), text: "This is needed." };
  }
  return { at: found, text: found < 0 ? message : `This${message.slice(length)}` };
}

/** An answer as people say it. @param {any} value @param {Field[]} fields Those that it was typed into, if known. */
export function inWords(value, fields) {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return word(value);
  // The server orders an object's names by the alphabet; people know them in the form's order.
  const at = new Map(fields.map((field, index) => [field.name, index]));
  const given = Object.entries(value).filter(([, each]) => each !== "");
  given.sort(([one], [other]) => (at.get(one) ?? Infinity) - (at.get(other) ?? Infinity) || 0);
  return given.map(([name, each]) => `${fields[at.get(name) ?? -1]?.label ?? name.replaceAll("_", " ")}: ${word(each)}`).join(" · ");
}

/** @param {any} value @returns {string} */
function word(value) {
  if (typeof value === "boolean") return value ? "yes" : "no";
  return Array.isArray(value) ? value.map(word).join(", ") || "none" : textOf(value);
}
