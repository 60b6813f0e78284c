//! The grammar as JSON Schema, so that an editor completes and checks a plan while it is written.
//!
//! Draft 7, because that is what editors read. It accepts every sound plan; it refuses unknown and missing fields, wrong
//! types, unknown words and malformed durations. What needs more than one place to be seen (names, times against each
//! other) only `mainstay check` finds.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::grammar::{Behind, Choice, Field, Kind, PART, PLAN, Presence, Rule, Shape};

/// The JSON Schema of a plan, of the newest version.
pub fn schema() -> Value {
    let mut schema = whole(&PLAN, "Mainstay plan");
    // They may all be in included files.
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|it| it != "components");
    }
    schema["if"] = json!({ "not": { "required": ["include"] } });
    schema["then"] = json!({ "required": ["components"] });
    schema
}

/// The JSON Schema of a file that a plan includes, of the newest version.
pub fn part_schema() -> Value {
    whole(&PART, "part of a Mainstay plan")
}

fn whole(shape: &'static Shape, title: &str) -> Value {
    let mut definitions = Definitions::default();
    let root = definitions.shape(shape);
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), json!("http://json-schema.org/draft-07/schema#"));
    schema.insert("title".to_owned(), json!(title));
    if let Value::Object(root) = root {
        schema.extend(root);
    }
    schema.insert("definitions".to_owned(), Value::Object(definitions.done));
    Value::Object(schema)
}

#[derive(Default)]
struct Definitions {
    seen: BTreeSet<&'static str>,
    done: Map<String, Value>,
}

/// What text may be taken for by a reader of YAML: `5`, `true` and `1.5` are text to us where text is asked for.
const TEXT: [&str; 3] = ["string", "number", "boolean"];

const DURATION: &str = r"^\s*(?=\d)(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?\s*$";
const ABOVE_ZERO: &str = r"^\s*(?=.*[1-9])(?=\d)(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?\s*$";
const NAME: &str = "^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$";

impl Definitions {
    /// The schema of a mapping, in place.
    fn shape(&mut self, shape: &'static Shape) -> Value {
        let mut properties = Map::new();
        for field in shape.all() {
            properties.insert(field.name.to_owned(), self.field(field));
        }
        let required: Vec<&str> = shape.all().filter(|it| it.presence == Presence::Needed).map(|it| it.name).collect();
        let mut schema = json!({
            "type": if required.is_empty() { json!(["object", "null"]) } else { json!("object") },
            "description": shape.doc,
            "properties": properties,
            "additionalProperties": false,
        });
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        let rules: Vec<Value> = shape.rules.iter().map(rule).collect();
        if !rules.is_empty() {
            schema["allOf"] = json!(rules);
        }
        schema
    }

    /// A mapping by reference.
    fn refer(&mut self, shape: &'static Shape) -> Value {
        if self.seen.insert(shape.name) {
            let schema = self.shape(shape);
            self.done.insert(shape.name.to_owned(), schema);
        }
        reference(shape.name)
    }

    fn choice(&mut self, choice: &'static Choice) -> Value {
        if self.seen.insert(choice.name) {
            let mut variants: Vec<Value> = Vec::new();
            let mut alone: Vec<&str> = Vec::new();
            for variant in choice.variants {
                let (mut value, may_stand_alone) = match variant.behind {
                    Behind::Nothing => (json!({ "type": "null" }), true),
                    Behind::Map(shape) => (self.refer(shape), shape.all().all(|it| it.presence != Presence::Needed)),
                    Behind::Value(kind) => (self.kind(kind), false),
                };
                if may_stand_alone {
                    alone.push(variant.word);
                }
                // What is a mapping says itself what it is.
                match variant.behind {
                    Behind::Nothing => value["description"] = json!("the word stands alone"),
                    Behind::Value(kind) => value["description"] = json!(format!("{}.{}", choice.doc, unit(kind))),
                    Behind::Map(_) => {}
                }
                variants.push(json!({
                    "type": "object",
                    "properties": { variant.word: value },
                    "required": [variant.word],
                    "additionalProperties": false,
                }));
            }
            if !alone.is_empty() {
                variants.push(json!({ "enum": alone }));
            }
            self.done.insert(choice.name.to_owned(), json!({ "description": choice.doc, "oneOf": variants }));
        }
        reference(choice.name)
    }

    fn field(&mut self, field: &Field) -> Value {
        let mut schema = self.kind(field.kind);
        if schema.get("$ref").is_some() {
            // Beside a reference draft 7 reads nothing.
            schema = json!({ "allOf": [schema] });
        }
        let default = match field.presence {
            Presence::Default(text) => {
                schema["default"] = typed(text);
                format!(" Default: {text}.")
            }
            Presence::Derived(words) => format!(" Default: {words}."),
            Presence::Needed | Presence::Optional => String::new(),
        };
        schema["description"] = json!(format!("{}.{default}{}", field.doc, unit(field.kind)));
        if !field.example.is_empty() && !field.example.starts_with(['{', '[']) {
            schema["examples"] = json!([typed(field.example)]);
        }
        schema
    }

    fn kind(&mut self, kind: Kind) -> Value {
        match kind {
            Kind::Version => json!({ "enum": [2, "2"] }),
            Kind::Name => json!({ "type": TEXT, "pattern": or_variable(NAME) }),
            Kind::Text | Kind::Path | Kind::Ref(_) | Kind::Expression => json!({ "type": TEXT, "pattern": r"\S" }),
            Kind::Content => json!({ "type": ["string", "number", "boolean", "null"] }),
            Kind::Flag => filled_in(&json!({ "type": "boolean" })),
            Kind::Number(least, most) => filled_in(&json!({ "type": "integer", "minimum": least, "maximum": most })),
            Kind::Duration | Kind::Ttl => text(DURATION),
            Kind::TimeOfDay => text(r"^([01]\d|2[0-3]):[0-5]\d$"),
            Kind::UtcOffset => text(r"^[+-](0\d|1[0-3]):[0-5]\d$|^[+-]14:00$"),
            Kind::Positive => text(ABOVE_ZERO),
            Kind::Percent => json!({ "anyOf": [
                { "type": "number", "exclusiveMinimum": 0, "maximum": 100 },
                text(r"^\s*\d+(\.\d{0,4})?\s*%?\s*$"),
            ] }),
            Kind::HostPort => text(r"^(\[[^\]\s]+\]|[^:\s]+):\d+$"),
            Kind::Ip => text(r"^[0-9A-Fa-f:.]+$"),
            Kind::Socket => text(r"^(\d+(\.\d+){3}|\[[^\]\s]+\]):\d+$"),
            Kind::Sockets => json!({ "type": "array", "items": self.kind(Kind::Socket) }),
            Kind::Addresses => {
                json!({ "type": "array", "items": { "type": TEXT, "pattern": or_variable(r"^[0-9A-Fa-f:.]+$") } })
            }
            Kind::Networks => {
                json!({ "type": "array", "items": { "type": TEXT, "pattern": or_variable(r"^[0-9A-Fa-f:.]+(/\d+)?$") } })
            }
            Kind::ServerNames => {
                json!({ "type": "array", "items": { "type": TEXT, "pattern": or_variable(r"^(\*\.)?[A-Za-z0-9_.-]+$") } })
            }
            Kind::Url => text(r"^https?://\S+$"),
            Kind::DnsName => json!({ "type": TEXT, "pattern": or_variable(r"^[A-Za-z0-9_.-]+$") }),
            Kind::Argv => json!({
                "type": "array",
                "minItems": 1,
                "items": { "type": ["string", "number", "boolean", "null"] },
            }),
            Kind::Word(words) => filled_in(&json!({ "enum": words() })),
            Kind::Words(words) => json!({ "type": "array", "items": filled_in(&json!({ "enum": words() })) }),
            Kind::Statuses => {
                let one = json!({ "anyOf": [
                    { "type": "integer", "minimum": 100, "maximum": 599 },
                    text(r"^\s*[1-5]\d\d\s*(-\s*[1-5]\d\d\s*)?$"),
                ] });
                json!({ "anyOf": [one, { "type": "array", "items": one }] })
            }
            Kind::Refs(_) | Kind::Files => json!({ "type": "array", "items": { "type": TEXT, "pattern": r"\S" } }),
            Kind::Texts => json!({
                "type": ["object", "null"],
                "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
            }),
            Kind::Map(shape) => self.refer(shape),
            Kind::Named(shape) => json!({
                "type": ["object", "null"],
                "propertyNames": { "pattern": NAME },
                "additionalProperties": self.refer(shape),
            }),
            Kind::List(shape) => json!({ "type": "array", "items": self.refer(shape) }),
            Kind::One(choice) => self.choice(choice),
            Kind::Many(choice) => json!({ "type": "array", "items": self.choice(choice) }),
        }
    }
}

/// A text of this pattern, or one into which a variable is put.
fn text(pattern: &str) -> Value {
    json!({ "type": "string", "pattern": or_variable(pattern) })
}

fn or_variable(pattern: &str) -> String {
    format!(r"{pattern}|\$\{{")
}

/// Also where no text belongs, a variable may hold what does.
fn filled_in(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "type": "string", "pattern": r"\$\{" }] })
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/definitions/{}", name.replace(' ', "%20")) })
}

/// Units and forms, where the kind of value has some.
const fn unit(kind: Kind) -> &'static str {
    match kind {
        Kind::Duration | Kind::Positive => " A duration with units: `250ms`, `1m30s`, `2h`, `7d`.",
        Kind::Ttl => " A duration in whole seconds: `5s`.",
        Kind::TimeOfDay => " Hours and minutes: `\"22:00\"`.",
        Kind::UtcOffset => " A sign, hours and minutes: `\"+01:00\"`.",
        Kind::Percent => " In percent.",
        Kind::Path => " A relative path starts from the file that it stands in.",
        Kind::Argv => " A list: no shell takes it apart.",
        Kind::Version
        | Kind::Name
        | Kind::Text
        | Kind::Content
        | Kind::Flag
        | Kind::Number(..)
        | Kind::HostPort
        | Kind::Ip
        | Kind::Socket
        | Kind::Sockets
        | Kind::Addresses
        | Kind::Networks
        | Kind::ServerNames
        | Kind::Url
        | Kind::DnsName
        | Kind::Word(_)
        | Kind::Statuses
        | Kind::Ref(_)
        | Kind::Refs(_)
        | Kind::Words(_)
        | Kind::Texts
        | Kind::Expression
        | Kind::Map(_)
        | Kind::Named(_)
        | Kind::List(_)
        | Kind::One(_)
        | Kind::Many(_)
        | Kind::Files => "",
    }
}

/// A value of the grammar's tables as JSON.
fn typed(text: &str) -> Value {
    match text {
        "true" => json!(true),
        "false" => json!(false),
        "{}" => json!({}),
        _ if text.starts_with('[') => {
            let words = text.trim_matches(['[', ']']).split(", ").filter(|it| !it.is_empty());
            json!(words.collect::<Vec<_>>())
        }
        _ => match text.parse::<u64>() {
            Ok(number) => json!(number),
            Err(_) => json!(text.trim_matches('"')),
        },
    }
}

fn rule(rule: &Rule) -> Value {
    let has = |name: &str| json!({ "required": [name] });
    match rule {
        Rule::OneOf(names) => json!({ "oneOf": names.iter().map(|it| has(it)).collect::<Vec<_>>() }),
        Rule::Alone(name, others) => json!({
            "if": has(name),
            "then": { "not": { "anyOf": others.iter().map(|it| has(it)).collect::<Vec<_>>() } },
        }),
        Rule::With(name, groups) => json!({
            "if": has(name),
            "then": { "anyOf": groups.iter().map(|it| json!({ "required": it })).collect::<Vec<_>>() },
        }),
    }
}
