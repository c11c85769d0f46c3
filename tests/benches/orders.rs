//! The JSON bodies that the benches check, and the schema that they are checked against.

use serde_json::{Value, json};

const KB: usize = 1024;

/// The schema of an order.
pub fn schema() -> Value {
    json!({
        "type": "object",
        "required": ["customer", "currency", "address", "items"],
        "additionalProperties": false,
        "properties": {
            "customer": { "type": "string", "pattern": "^c-[0-9]{6}$" },
            "currency": { "enum": ["EUR", "USD", "GBP"] },
            "address": {
                "type": "object",
                "required": ["street", "city", "country"],
                "properties": {
                    "street": { "type": "string", "maxLength": 100 },
                    "city": { "type": "string", "maxLength": 100 },
                    "country": { "type": "string", "minLength": 2, "maxLength": 2 },
                },
            },
            "items": {
                "type": "array",
                "minItems": 1,
                "maxItems": 2_000,
                "items": {
                    "type": "object",
                    "required": ["sku", "quantity", "price"],
                    "additionalProperties": false,
                    "properties": {
                        "sku": { "type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$" },
                        "quantity": { "type": "integer", "minimum": 1, "maximum": 100 },
                        "price": { "type": "number", "minimum": 0 },
                        "gift": { "type": "boolean" },
                    },
                },
            },
        },
    })
}

/// An order of about that many bytes; none of none.
pub fn of_size(bytes: usize) -> String {
    if bytes == 0 {
        return String::new();
    }
    let order = |items: &[Value]| {
        json!({
            "customer": "c-000042",
            "currency": "EUR",
            "address": { "street": "1 Long Street", "city": "Dublin", "country": "IE" },
            "items": items,
        })
        .to_string()
    };
    let mut items = Vec::new();
    let mut size = order(&items).len();
    while size < bytes {
        let index = items.len();
        let item = json!({
            "sku": format!("ABC-{:04}", index % 10_000),
            "quantity": 1 + index % 100,
            "price": 19.99,
            "gift": index % 2 == 0,
        });
        size += item.to_string().len() + 1;
        items.push(item);
    }
    order(&items)
}

/// One that breaks the schema in its first item.
pub fn bad() -> String {
    of_size(KB).replacen("\"quantity\":1,", "\"quantity\":0,", 1)
}
