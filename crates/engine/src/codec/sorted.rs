//! Writes JSON whose fields are sorted by name, in one pass: what a field is called decides where it stands, not where it was
//! declared, so that a declaration can be moved without another byte in the journal.
//!
//! Each object is written as it comes; where its fields turn out not to be sorted, their pieces are put in order when it
//! closes.

use std::fmt::Display;
use std::ops::Range;

use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::Error;

/// The content of an enum's variant, without the variant's name.
pub(super) fn content<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let mut writer =
        Writer { out: Vec::with_capacity(512), fields: Vec::with_capacity(16), moved: Vec::new(), is_content: true };
    value.serialize(&mut writer)?;
    Ok(writer.out)
}

struct Writer {
    out: Vec<u8>,
    /// The fields of the objects that are open, the innermost last.
    fields: Vec<Field>,
    /// Where an object is put in order.
    moved: Vec<u8>,
    /// Nothing was written yet: the outermost variant is left out.
    is_content: bool,
}

#[derive(Clone)]
struct Field {
    name: Name,
    /// `"name":value`.
    piece: Range<usize>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Name {
    Declared(&'static str),
    Key(String),
}

impl Name {
    fn text(&self) -> &str {
        match self {
            Name::Declared(name) => name,
            Name::Key(key) => key,
        }
    }
}

impl Writer {
    fn scalar<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.is_content = false;
        value.serialize(&mut serde_json::Serializer::new(&mut self.out))
    }

    /// Opens a variant; whether it has to be closed.
    fn variant(&mut self, name: &'static str) -> Result<bool, Error> {
        if std::mem::take(&mut self.is_content) {
            return Ok(false);
        }
        self.out.push(b'{');
        self.scalar(name)?;
        self.out.push(b':');
        Ok(true)
    }

    fn list(&mut self) -> List<'_> {
        self.is_content = false;
        self.out.push(b'[');
        List { writer: self, is_first: true, closes: false }
    }

    fn object(&mut self) -> Object<'_> {
        self.is_content = false;
        self.out.push(b'{');
        Object { first: self.fields.len(), is_sorted: true, closes: false, key: None, writer: self }
    }
}

struct List<'a> {
    writer: &'a mut Writer,
    is_first: bool,
    closes: bool,
}

impl List<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        if !std::mem::take(&mut self.is_first) {
            self.writer.out.push(b',');
        }
        value.serialize(&mut *self.writer)
    }

    fn close(self) {
        self.writer.out.push(b']');
        if self.closes {
            self.writer.out.push(b'}');
        }
    }
}

struct Object<'a> {
    /// Where its fields begin among all that are open.
    first: usize,
    is_sorted: bool,
    closes: bool,
    /// A key whose value has not come yet.
    key: Option<String>,
    writer: &'a mut Writer,
}

impl Object<'_> {
    fn field<T: Serialize + ?Sized>(&mut self, name: Name, value: &T) -> Result<(), Error> {
        if self.writer.fields.len() > self.first {
            self.writer.out.push(b',');
        }
        let start = self.writer.out.len();
        match &name {
            // A name in Rust has nothing to escape.
            Name::Declared(name) => {
                self.writer.out.push(b'"');
                self.writer.out.extend_from_slice(name.as_bytes());
                self.writer.out.push(b'"');
            }
            Name::Key(key) => self.writer.scalar(key)?,
        }
        self.writer.out.push(b':');
        value.serialize(&mut *self.writer)?;
        let before = self.writer.fields[self.first..].last();
        self.is_sorted &= before.is_none_or(|it| it.name.text() < name.text());
        self.writer.fields.push(Field { name, piece: start..self.writer.out.len() });
        Ok(())
    }

    fn close(self) {
        let Writer { out, fields, moved, .. } = self.writer;
        if !self.is_sorted {
            let fields = &mut fields[self.first..];
            fields.sort_by(|a, b| a.name.text().cmp(b.name.text()));
            let start = fields.iter().map(|it| it.piece.start).min().unwrap_or(out.len());
            moved.clear();
            moved.reserve(out.len() - start);
            for (nth, field) in fields.iter().enumerate() {
                if nth > 0 {
                    moved.push(b',');
                }
                moved.extend_from_slice(&out[field.piece.clone()]);
            }
            out.truncate(start);
            out.extend_from_slice(moved);
        }
        fields.truncate(self.first);
        out.push(b'}');
        if self.closes {
            out.push(b'}');
        }
    }
}

macro_rules! scalars {
    ($($method:ident: $type:ty),+ $(,)?) => {
        $(fn $method(self, value: $type) -> Result<(), Error> {
            self.scalar(&value)
        })+
    };
}

impl<'a> Serializer for &'a mut Writer {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = List<'a>;
    type SerializeTuple = List<'a>;
    type SerializeTupleStruct = List<'a>;
    type SerializeTupleVariant = List<'a>;
    type SerializeMap = Object<'a>;
    type SerializeStruct = Object<'a>;
    type SerializeStructVariant = Object<'a>;

    scalars! {
        serialize_bool: bool, serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_i128: i128, serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64,
        serialize_u128: u128, serialize_f32: f32, serialize_f64: f64, serialize_char: char, serialize_str: &str,
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Error> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.is_content = false;
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Error> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _name: &'static str, _nth: u32, variant: &'static str) -> Result<(), Error> {
        if self.is_content { self.serialize_unit() } else { self.serialize_str(variant) }
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _nth: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        let closes = self.variant(variant)?;
        value.serialize(&mut *self)?;
        if closes {
            self.out.push(b'}');
        }
        Ok(())
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<List<'a>, Error> {
        Ok(self.list())
    }

    fn serialize_tuple(self, _len: usize) -> Result<List<'a>, Error> {
        Ok(self.list())
    }

    fn serialize_tuple_struct(self, _name: &'static str, _len: usize) -> Result<List<'a>, Error> {
        Ok(self.list())
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _nth: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<List<'a>, Error> {
        let closes = self.variant(variant)?;
        Ok(List { closes, ..self.list() })
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Object<'a>, Error> {
        Ok(self.object())
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Object<'a>, Error> {
        Ok(self.object())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _nth: u32,
        variant: &'static str,
        _len: usize,
    ) -> Result<Object<'a>, Error> {
        let closes = self.variant(variant)?;
        Ok(Object { closes, ..self.object() })
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), Error> {
        self.is_content = false;
        serde_json::Serializer::new(&mut self.out).collect_str(value)
    }
}

macro_rules! lists {
    ($($of:ident: $method:ident),+ $(,)?) => {
        $(impl $of for List<'_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.item(value)
            }

            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        })+
    };
}

lists! {
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field,
}

macro_rules! objects {
    ($($of:ident),+) => {
        $(impl $of for Object<'_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
                self.field(Name::Declared(name), value)
            }

            fn end(self) -> Result<(), Error> {
                self.close();
                Ok(())
            }
        })+
    };
}

objects!(SerializeStruct, SerializeStructVariant);

impl SerializeMap for Object<'_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        let serde_json::Value::String(key) = serde_json::to_value(key)? else {
            return Err(Error::custom("a key must be text"));
        };
        self.key = Some(key);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        let key = self.key.take().ok_or_else(|| Error::custom("a value without a key"))?;
        self.field(Name::Key(key), value)
    }

    fn end(self) -> Result<(), Error> {
        self.close();
        Ok(())
    }
}
