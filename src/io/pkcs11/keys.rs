//! The life of keys on a token, for `gnomon keys`: [`tokens`] tells what there is, [`Vault`] is one token
//! opened to make, use and destroy keys.

use cryptoki::{
    error::{Error, RvError},
    mechanism::Mechanism,
    object::{Attribute, AttributeInfo, AttributeType, KeyType, ObjectClass, ObjectHandle},
    session::{Session, UserType},
    slot::Slot,
    types::AuthPin,
};

use super::{Module, Pkcs11Error, Scheme, TokenChoice, module::refuses_pin};
use crate::wire::{
    algorithm::{KeyKind, SignatureAlgorithm},
    certificate::{CertificateError, PublicKey},
    oid,
    tlv::{self, Reader, tag},
};

/// One token as it shows itself.
#[derive(Debug, serde::Serialize)]
pub struct TokenListing {
    pub slot: u64,
    pub label: String,
    pub serial: String,
    pub manufacturer: String,
    pub model: String,
    /// The mechanisms that gnomon signs with, as far as the token has them.
    pub mechanisms: Vec<String>,
}

/// One private key.
#[derive(Debug, serde::Serialize)]
pub struct KeyListing {
    pub label: String,
    /// CKA_ID, hexadecimal.
    pub id: String,
    /// Such as "P-256"; "unknown" where the token does not show the public half.
    pub kind: String,
    pub sensitive: bool,
    pub extractable: bool,
    pub sign: bool,
    // What not every token knows, or says.
    /// Whether it was made on the token (CKA_LOCAL); `false` where it was imported.
    pub local: Option<bool>,
    pub always_sensitive: Option<bool>,
    pub never_extractable: Option<bool>,
    pub decrypt: Option<bool>,
    pub unwrap: Option<bool>,
    /// The public half, if the token shows it.
    #[serde(skip)]
    pub public: Option<PublicKey>,
}

/// One private key to work with, and what is on the token of its public half.
#[derive(Debug)]
pub struct Key {
    pub label: String,
    /// CKA_ID.
    pub id: Vec<u8>,
    private: ObjectHandle,
    publics: Vec<ObjectHandle>,
}

/// What [`Vault::destroy`] takes away: a key, or the public half of one that is gone.
#[derive(Debug)]
pub struct Doomed {
    pub label: String,
    /// CKA_ID.
    pub id: Vec<u8>,
    /// The public half, if the token shows it.
    pub public: Option<PublicKey>,
    /// Whether there is a private half.
    pub signs: bool,
    objects: Vec<ObjectHandle>,
}

/// Why a key cannot be worked with.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error(transparent)]
    Token(#[from] Pkcs11Error),
    #[error("{choice}: {}", super::said(.error))]
    Device { choice: TokenChoice, error: Error },
    #[error(
        "{0}: a key of this label, or half of one, is there already; destroy it, or choose another label"
    )]
    LabelTaken(String),
    #[error("no private key labelled `{0}`; `gnomon keys list` shows those there are")]
    NoKey(String),
    #[error("no private key labelled `{0}` has that id; `gnomon keys list` shows those there are")]
    NoKeyOfId(String),
    #[error("{1} private keys are labelled `{0}`; name one by its id too, with --id")]
    SeveralKeys(String, usize),
    #[error(
        "{1} public halves without a private key are labelled `{0}`; name one by its id too, with --id"
    )]
    SeveralHalves(String, usize),
    #[error(
        "the key labelled `{0}` has no public half on the token, so that its kind is not known"
    )]
    NoPublicKey(String),
    #[error("the public half on the token: {0}")]
    PublicKey(#[from] CertificateError),
    #[error("{0} keys are not made here; choose p256, p384, rsa3072, rsa4096 or ed25519")]
    Kind(KeyKind),
}

/// All tokens of a module.
pub fn tokens(module: &Module) -> Result<Vec<TokenListing>, Error> {
    let _inside = module.enter();
    let context = module.context();
    let slots = context.get_slots_with_token()?;
    let listings = slots.into_iter().filter_map(|slot| {
        let info = context
            .get_token_info(slot)
            .ok()
            .filter(|info| info.token_initialized())?;
        let mechanisms = context.get_mechanism_list(slot).unwrap_or_default();
        let names = mechanisms.iter().map(ToString::to_string);
        let signs = ["CKM_ECDSA", "CKM_RSA_PKCS", "CKM_RSA_PKCS_PSS", "CKM_EDDSA"];
        Some(TokenListing {
            slot: slot.id(),
            label: info.label().to_owned(),
            serial: info.serial_number().to_owned(),
            manufacturer: info.manufacturer_id().to_owned(),
            model: info.model().to_owned(),
            mechanisms: names
                .filter(|name| signs.contains(&name.as_str()))
                .collect(),
        })
    });
    Ok(listings.collect())
}

/// One token, logged in, to read and to write.
#[derive(Debug)]
pub struct Vault<'a> {
    module: &'a Module,
    choice: TokenChoice,
    slot: Slot,
    session: Session,
}

impl<'a> Vault<'a> {
    pub fn open(
        module: &'a Module,
        choice: TokenChoice,
        pin: Option<&AuthPin>,
    ) -> Result<Self, VaultError> {
        let slot = module.slot(&choice)?;
        let failed = |error| VaultError::Device {
            choice: choice.clone(),
            error,
        };
        let session = module.context().open_rw_session(slot).map_err(failed)?;
        if pin.is_some() {
            match session.login(UserType::User, pin) {
                Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
                Err(error) if refuses_pin(&error) => {
                    return Err(Pkcs11Error::PinRefused(choice).into());
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(Self {
            module,
            choice,
            slot,
            session,
        })
    }

    /// Every private key that the PIN shows.
    pub fn list(&self) -> Result<Vec<KeyListing>, VaultError> {
        let found = self.find(&[Attribute::Class(ObjectClass::PRIVATE_KEY)])?;
        found.into_iter().map(|key| self.describe(key)).collect()
    }

    /// Makes a key pair that never leaves the token and can only sign.
    pub fn generate(&self, kind: KeyKind, label: &str, id: &[u8]) -> Result<PublicKey, VaultError> {
        // A public half that was left alone would later be taken for this key's.
        for class in [ObjectClass::PRIVATE_KEY, ObjectClass::PUBLIC_KEY] {
            if !self.labelled(class, label)?.is_empty() {
                return Err(VaultError::LabelTaken(label.to_owned()));
            }
        }
        let curve =
            |id: oid::ObjectIdentifier| Attribute::EcParams(tlv::wrap(tag::OID, &[id.as_bytes()]));
        let (mechanism, own) = match kind {
            KeyKind::P256 => (Mechanism::EccKeyPairGen, vec![curve(oid::P256)]),
            KeyKind::P384 => (Mechanism::EccKeyPairGen, vec![curve(oid::P384)]),
            KeyKind::Ed25519 => (Mechanism::EccEdwardsKeyPairGen, vec![curve(oid::ED25519)]),
            KeyKind::Rsa { bits } => {
                let bits = u64::try_from(bits).unwrap_or(3072);
                let exponent = Attribute::PublicExponent(vec![1, 0, 1]);
                let attributes = vec![Attribute::ModulusBits(bits.into()), exponent];
                (Mechanism::RsaPkcsKeyPairGen, attributes)
            }
            KeyKind::P521 => return Err(VaultError::Kind(kind)),
        };
        let common = [
            Attribute::Token(true),
            Attribute::Label(label.as_bytes().to_vec()),
            Attribute::Id(id.to_vec()),
        ];
        let public = [
            &common[..],
            &[Attribute::Verify(true), Attribute::Private(false)],
            &own,
        ]
        .concat();
        let signs = [
            &common[..],
            &[
                Attribute::Private(true),
                Attribute::Sensitive(true),
                Attribute::Extractable(false),
                Attribute::Sign(true),
                Attribute::Derive(false),
            ],
        ]
        .concat();
        let signs_only = [
            &signs[..],
            &[Attribute::Decrypt(false), Attribute::Unwrap(false)],
        ]
        .concat();
        let make = |private: &[Attribute]| {
            let session = &self.session;
            session.generate_key_pair(&mechanism, &public, private)
        };
        let made = match make(&signs_only) {
            // Not every module takes usage flags that a kind of key cannot have.
            Err(Error::Pkcs11(
                RvError::AttributeTypeInvalid
                | RvError::AttributeValueInvalid
                | RvError::TemplateInconsistent,
                _,
            )) if !matches!(kind, KeyKind::Rsa { .. }) => make(&signs),
            made => made,
        };
        let (public, _private) = made.map_err(|error| self.failed(error))?;
        self.read_public(public)
    }

    /// The key by its label, and by its CKA_ID where several have the label.
    pub fn key(&self, label: &str, id: Option<&[u8]>) -> Result<Key, VaultError> {
        let all = self.labelled(ObjectClass::PRIVATE_KEY, label)?;
        if all.is_empty() {
            return Err(VaultError::NoKey(label.to_owned()));
        }
        let mut found = Vec::new();
        for private in &all {
            let own = self.id(*private)?;
            if id.is_none_or(|id| id == own) {
                found.push((*private, own));
            }
        }
        let count = found.len();
        match (found.pop(), count) {
            (Some((private, id)), 1) => Ok(Key {
                publics: self.publics(label, &id, all.len() == 1)?,
                label: label.to_owned(),
                id,
                private,
            }),
            (None, _) => Err(VaultError::NoKeyOfId(label.to_owned())),
            (Some(_), count) => Err(VaultError::SeveralKeys(label.to_owned(), count)),
        }
    }

    /// The public half of a key.
    pub fn public_key(&self, key: &Key) -> Result<PublicKey, VaultError> {
        match key.publics.first() {
            Some(public) => self.read_public(*public),
            None => Err(VaultError::NoPublicKey(key.label.clone())),
        }
    }

    /// A signature by a key.
    pub fn sign(
        &self,
        key: &Key,
        public: &PublicKey,
        algorithm: Option<SignatureAlgorithm>,
        message: &[u8],
    ) -> Result<(SignatureAlgorithm, Vec<u8>), VaultError> {
        let scheme = Scheme::new(public.kind(), algorithm)?;
        let signature = scheme.sign(&self.session, key.private, message);
        Ok((
            scheme.algorithm(),
            signature.map_err(|error| self.failed(error))?,
        ))
    }

    /// Both halves of the key by its label and id; where there is no private key of this label, the public half that was
    /// left behind.
    pub fn doomed(&self, label: &str, id: Option<&[u8]>) -> Result<Doomed, VaultError> {
        let (id, signs, objects) = match self.key(label, id) {
            Ok(key) => (key.id, true, [vec![key.private], key.publics].concat()),
            Err(VaultError::NoKey(label)) => {
                let mut left = Vec::new();
                for public in self.labelled(ObjectClass::PUBLIC_KEY, &label)? {
                    let own = self.id(public)?;
                    if id.is_none_or(|id| id == own) {
                        left.push((own, public));
                    }
                }
                let count = left.len();
                match (left.pop(), count) {
                    (Some((id, public)), 1) => (id, false, vec![public]),
                    (None, _) => return Err(VaultError::NoKey(label)),
                    (Some(_), count) => return Err(VaultError::SeveralHalves(label, count)),
                }
            }
            Err(error) => return Err(error),
        };
        // The private half is the first.
        let public = objects.get(usize::from(signs));
        let public = public.map(|object| self.read_public(*object));
        Ok(Doomed {
            label: label.to_owned(),
            id,
            public: public.and_then(Result::ok),
            signs,
            objects,
        })
    }

    /// Destroys it; gives how many objects that were.
    pub fn destroy(&self, doomed: &Doomed) -> Result<usize, VaultError> {
        for object in &doomed.objects {
            self.session
                .destroy_object(*object)
                .map_err(|error| self.failed(error))?;
        }
        Ok(doomed.objects.len())
    }

    /// Signs on `sessions` sessions at once for `time`; gives signatures a second.
    pub fn rate(
        &self,
        key: &Key,
        public: &PublicKey,
        sessions: usize,
        time: std::time::Duration,
    ) -> Result<f64, VaultError> {
        let scheme = Scheme::new(public.kind(), None)?;
        let key = key.private;
        let open = || self.module.context().open_ro_session(self.slot);
        let open: Result<Vec<_>, _> = std::iter::repeat_with(open).take(sessions).collect();
        let open = open.map_err(|error| self.failed(error))?;
        let start = std::time::Instant::now();
        let counts: Result<Vec<u32>, Error> = std::thread::scope(|scope| {
            let sign = |session: Session| {
                move || {
                    let mut count = 0u32;
                    while start.elapsed() < time {
                        scheme.sign(&session, key, b"gnomon keys test")?;
                        count += 1;
                    }
                    Ok(count)
                }
            };
            let threads: Vec<_> = open
                .into_iter()
                .map(|session| scope.spawn(sign(session)))
                .collect();
            let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
                thread.join().unwrap_or(Err(Error::InvalidValue))
            };
            threads.into_iter().map(join).collect()
        });
        let total: u32 = counts.map_err(|error| self.failed(error))?.iter().sum();
        Ok(f64::from(total) / start.elapsed().as_secs_f64())
    }

    fn labelled(&self, class: ObjectClass, label: &str) -> Result<Vec<ObjectHandle>, VaultError> {
        let label = Attribute::Label(label.as_bytes().to_vec());
        self.find(&[Attribute::Class(class), label])
    }

    /// The public halves of a key. One of another id is its own only where no other key has the label.
    fn publics(
        &self,
        label: &str,
        id: &[u8],
        is_only: bool,
    ) -> Result<Vec<ObjectHandle>, VaultError> {
        let all = self.labelled(ObjectClass::PUBLIC_KEY, label)?;
        let mut own = Vec::new();
        for public in &all {
            if self.id(*public)? == id {
                own.push(*public);
            }
        }
        Ok(if own.is_empty() && is_only { all } else { own })
    }

    fn id(&self, object: ObjectHandle) -> Result<Vec<u8>, VaultError> {
        let found = self.session.get_attributes(object, &[AttributeType::Id]);
        let found = found.map_err(|error| self.failed(error))?;
        let id = found.into_iter().find_map(|attribute| match attribute {
            Attribute::Id(id) => Some(id),
            _ => None,
        });
        Ok(id.unwrap_or_default())
    }

    fn find(&self, template: &[Attribute]) -> Result<Vec<ObjectHandle>, VaultError> {
        self.session
            .find_objects(template)
            .map_err(|error| self.failed(error))
    }

    fn failed(&self, error: Error) -> VaultError {
        VaultError::Device {
            choice: self.choice.clone(),
            error,
        }
    }

    fn describe(&self, key: ObjectHandle) -> Result<KeyListing, VaultError> {
        use AttributeType as T;
        let wanted = [
            T::Label,
            T::Id,
            T::KeyType,
            T::Sensitive,
            T::Extractable,
            T::Sign,
        ];
        let attributes = self
            .session
            .get_attributes(key, &wanted)
            .map_err(|error| self.failed(error))?;
        let mut listing = KeyListing {
            label: String::new(),
            id: String::new(),
            kind: "unknown".into(),
            sensitive: false,
            extractable: true,
            sign: false,
            local: self.flag(key, T::Local),
            always_sensitive: self.flag(key, T::AlwaysSensitive),
            never_extractable: self.flag(key, T::NeverExtractable),
            decrypt: self.flag(key, T::Decrypt),
            unwrap: self.flag(key, T::Unwrap),
            public: None,
        };
        let mut id = Vec::new();
        for attribute in attributes {
            match attribute {
                Attribute::Label(label) => {
                    listing.label = String::from_utf8_lossy(&label).into_owned();
                }
                Attribute::Id(own) => id = own,
                Attribute::Sensitive(sensitive) => listing.sensitive = sensitive,
                Attribute::Extractable(extractable) => listing.extractable = extractable,
                Attribute::Sign(sign) => listing.sign = sign,
                _ => {}
            }
        }
        listing.id = hex::encode(&id);
        let is_only = self
            .labelled(ObjectClass::PRIVATE_KEY, &listing.label)?
            .len()
            == 1;
        let publics = self.publics(&listing.label, &id, is_only)?;
        let public = publics.first().map(|public| self.read_public(*public));
        listing.public = public.and_then(Result::ok);
        if let Some(public) = &listing.public {
            listing.kind = public.kind().to_string();
        }
        Ok(listing)
    }

    /// One attribute, asked for alone: a token that does not know it may say nothing of those beside it either.
    fn flag(&self, key: ObjectHandle, wanted: AttributeType) -> Option<bool> {
        let info = self.session.get_attribute_info(key, &[wanted]).ok()?;
        if !matches!(info.first(), Some(AttributeInfo::Available(_))) {
            return None;
        }
        let found = self.session.get_attributes(key, &[wanted]).ok()?;
        found.first().and_then(|attribute| match attribute {
            Attribute::Local(is)
            | Attribute::AlwaysSensitive(is)
            | Attribute::NeverExtractable(is)
            | Attribute::Decrypt(is)
            | Attribute::Unwrap(is) => Some(*is),
            _ => None,
        })
    }

    fn read_public(&self, key: ObjectHandle) -> Result<PublicKey, VaultError> {
        use AttributeType as T;
        let read = |wanted: &[AttributeType]| {
            self.session
                .get_attributes(key, wanted)
                .map_err(|error| self.failed(error))
        };
        let kind = read(&[T::KeyType])?;
        let oid = |id: oid::ObjectIdentifier| tlv::wrap(tag::OID, &[id.as_bytes()]);
        if kind.contains(&Attribute::KeyType(KeyType::RSA)) {
            let (mut modulus, mut exponent) = (Vec::new(), Vec::new());
            for attribute in read(&[T::Modulus, T::PublicExponent])? {
                match attribute {
                    Attribute::Modulus(octets) => tlv::put_unsigned(&mut modulus, &octets),
                    Attribute::PublicExponent(octets) => {
                        tlv::put_unsigned(&mut exponent, &octets);
                    }
                    _ => {}
                }
            }
            let algorithm = tlv::wrap(tag::SEQUENCE, &[&oid(oid::RSA_ENCRYPTION), &[tag::NULL, 0]]);
            let key = tlv::wrap(tag::SEQUENCE, &[&modulus, &exponent]);
            return Ok(PublicKey::from_spki(&spki(&algorithm, &key))?);
        }
        let edwards = kind.contains(&Attribute::KeyType(KeyType::EC_EDWARDS));
        let (mut curve, mut point) = (Vec::new(), Vec::new());
        for attribute in read(&[T::EcParams, T::EcPoint])? {
            match attribute {
                Attribute::EcParams(octets) => curve = octets,
                // An OCTET STRING around the point (PKCS #11 2.40, 2.3.3); some leave it out.
                Attribute::EcPoint(octets) => {
                    point = Reader::whole(&octets, tag::OCTET_STRING)
                        .map_or_else(|_| octets.clone(), |inner| inner.value.to_vec());
                }
                _ => {}
            }
        }
        let algorithm = if edwards {
            tlv::wrap(tag::SEQUENCE, &[&oid(oid::ED25519)])
        } else {
            tlv::wrap(tag::SEQUENCE, &[&oid(oid::EC_PUBLIC_KEY), &curve])
        };
        Ok(PublicKey::from_spki(&spki(&algorithm, &point))?)
    }
}

fn spki(algorithm: &[u8], key: &[u8]) -> Vec<u8> {
    let bits = tlv::wrap(tag::BIT_STRING, &[&[0], key]);
    tlv::wrap(tag::SEQUENCE, &[algorithm, &bits])
}
