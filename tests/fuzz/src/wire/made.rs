//! Requests made of choices: what fields there are is read from the contract, so a new one is tried too.

use std::sync::LazyLock;

use prost::Message;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};

use crate::choices::Choices;

static METHODS: LazyLock<Vec<MethodDescriptor>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(mesh_proto::FILE_DESCRIPTOR_SET).expect("descriptors");
    pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
});

/// Texts that mean something somewhere, and some that should not.
const TEXTS: [&str; 48] = [
    "",
    "fox",
    "owl",
    "elk",
    "acme/app",
    "global",
    "other/app",
    "src/",
    "src/a.rs",
    "src/*.rs",
    "src/**",
    "src/a.rs#X::y",
    "task:ABC-1",
    "api:billing",
    "plan",
    "plan/a",
    "log/",
    "contract/api:billing",
    "{\"a\":1}",
    "{\"a\":{\"b\":2}}",
    "#notes",
    "#deploys",
    "*",
    "0191b2c3-0000-7000-8000-000000000001",
    "r1",
    "r2",
    "words to find",
    "../x",
    "/etc/passwd",
    "a//b",
    "a\\b",
    "a\u{0}b",
    "\u{1b}[2J",
    "x\ny",
    "Fox",
    "fox.",
    "admin",
    "\u{202e}",
    "caf\u{e9}",
    "**/**/**/*a*a*a*b",
    "[",
    "{a,b}{a,b}{a,b}",
    "info",
    "focus",
    "activity",
    "children",
    "18446744073709551615",
    "-1",
];
const NUMBERS: [u64; 10] = [0, 1, 2, 3, 7, 100, 1_000, 65_536, u32::MAX as u64, u64::MAX];
const SPANS: [i64; 8] = [0, 1, 30, 600, -1, 86_400, i64::MAX, i64::MIN];

/// How many methods there are.
pub(super) fn methods() -> u8 {
    u8::try_from(METHODS.len()).expect("fewer than 256 methods")
}

/// The method of a number.
pub(super) fn method(number: u8) -> MethodDescriptor {
    METHODS[usize::from(number) % METHODS.len()].clone()
}

/// Makes a request.
#[derive(Debug)]
pub(super) struct Maker<'a, 'b> {
    choices: &'a mut Choices<'b>,
    /// Texts of earlier answers: ids, tokens of pages.
    met: Vec<String>,
}

impl<'a, 'b> Maker<'a, 'b> {
    pub(super) fn new(choices: &'a mut Choices<'b>, met: Vec<String>) -> Self {
        Self { choices, met }
    }

    pub(super) fn message(mut self, of: &MessageDescriptor) -> Vec<u8> {
        self.made(of, 0).encode_to_vec()
    }

    fn made(&mut self, of: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(of.clone());
        for field in of.fields() {
            // Half of the fields stay as they are.
            if depth > 4 || self.choices.byte().is_multiple_of(2) {
                continue;
            }
            let value = self.field(&field, depth);
            message.set_field(&field, value);
        }
        message
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        if field.is_map() {
            return Value::Map(Default::default());
        }
        let kind = field.kind();
        if field.is_list() {
            let count = self.choices.below(4);
            return Value::List((0..count).map(|_| self.value(&kind, depth)).collect());
        }
        self.value(&kind, depth)
    }

    fn value(&mut self, kind: &Kind, depth: usize) -> Value {
        match kind {
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into_bytes().into()),
            Kind::Bool => Value::Bool(self.choices.byte() % 2 == 1),
            Kind::Message(of) if of.full_name() == "google.protobuf.Duration" => {
                let mut span = DynamicMessage::new(of.clone());
                span.set_field_by_name("seconds", Value::I64(self.choices.one_of(&SPANS)));
                Value::Message(span)
            }
            Kind::Message(of) => Value::Message(self.made(of, depth + 1)),
            // One more than there are, too.
            Kind::Enum(of) => {
                Value::EnumNumber(i32::try_from(self.choices.below(of.values().len() + 1)).unwrap())
            }
            Kind::Double => Value::F64(f64::NAN),
            Kind::Float => Value::F32(f32::NAN),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(self.number() as i32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(self.number() as i64),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(self.number() as u32),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(self.number()),
        }
    }

    fn number(&mut self) -> u64 {
        match self.choices.byte() {
            choice @ 0..0x80 => NUMBERS[usize::from(choice) % NUMBERS.len()],
            choice => u64::from(choice - 0x80),
        }
    }

    fn text(&mut self) -> String {
        let choice = self.choices.byte();
        match choice {
            0..0xc0 => TEXTS[usize::from(choice) % TEXTS.len()].to_owned(),
            0xc0..0xf0 if !self.met.is_empty() => self.met[usize::from(choice) % self.met.len()].clone(),
            0xf0.. => "x".repeat(1 << (choice & 15)),
            _ => {
                let length = self.choices.below(12);
                String::from_utf8_lossy(self.choices.take(length)).into_owned()
            }
        }
    }
}
