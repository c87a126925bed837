//! Modules and tokens: [`Modules`] loads each shared library once, [`Module`] finds tokens, logs in once a
//! token, and starts the library anew when nothing else helps.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    error::{Error, RvError},
    session::{Session, SessionState, UserType},
    slot::Slot,
    types::AuthPin,
};
use secrecy::ExposeSecret;

use super::{Pkcs11Error, TokenChoice};

/// All modules that are loaded. A library is initialised once a process, whoever uses it.
#[derive(Debug, Default)]
pub struct Modules(Mutex<HashMap<PathBuf, Arc<Module>>>);

/// One loaded library.
#[derive(Debug)]
pub struct Module {
    path: PathBuf,
    context: Pkcs11,
    /// Whether the library is initialised.
    begun: Mutex<bool>,
    /// Every call into the library holds it for reading; to start the library anew takes it for writing. The
    /// number counts the starts: sessions of an earlier one are void.
    gate: RwLock<u64>,
    /// By slot. Each is locked by itself, for a token may hang in its own.
    logins: Mutex<HashMap<u64, Arc<Mutex<Login>>>>,
    /// Sessions that sign, of all keys: a library in which something works is not started anew.
    working: AtomicUsize,
}

/// At one token.
#[derive(Debug, Default)]
struct Login {
    /// The session that keeps the token logged in.
    kept: Option<Session>,
    /// Each was tried once, and never again: tokens lock themselves after a few wrong PINs.
    refused: Vec<AuthPin>,
}

impl Modules {
    /// The module of this library, initialised.
    pub fn open(&self, path: &Path) -> Result<Arc<Module>, Pkcs11Error> {
        let module = self.load(path)?;
        module.begin()?;
        Ok(module)
    }

    /// The module of this library, to be initialised when a session is opened: a library whose device is away may fail in
    /// that, or not come back from it.
    pub fn load(&self, path: &Path) -> Result<Arc<Module>, Pkcs11Error> {
        let mut modules = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(path) {
            return Ok(Arc::clone(module));
        }
        let context = Pkcs11::new(path).map_err(|error| Pkcs11Error::Module {
            path: path.to_owned(),
            error,
        })?;
        let module = Arc::new(Module {
            path: path.to_owned(),
            context,
            begun: Mutex::new(false),
            gate: RwLock::new(0),
            logins: Mutex::default(),
            working: AtomicUsize::new(0),
        });
        modules.insert(path.to_owned(), Arc::clone(&module));
        Ok(module)
    }
}

impl Drop for Modules {
    /// Waits a little until every thread has left its library, and ends the library then. A process that ends
    /// while a thread is inside crashes in some of them (SoftHSM); a stuck thread is left behind all the same.
    fn drop(&mut self) {
        const TRIES: u32 = 200;
        let modules = self.0.get_mut().unwrap_or_else(PoisonError::into_inner);
        for (_, module) in modules.drain() {
            for _ in 0..TRIES {
                // Every thread holds the module.
                if Arc::strong_count(&module) == 1 {
                    module.logins().clear();
                    let _ = module.context.clone().finalize();
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
}

/// With locking of its own: SoftHSM crashes under threads without it.
fn initialise(context: &Pkcs11) -> Result<(), Error> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        other => other,
    }
}

impl Module {
    /// Holds off a new start of the library; gives the number of the present one.
    pub fn enter(&self) -> RwLockReadGuard<'_, u64> {
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Initialises the library, unless that was done.
    fn begin(&self) -> Result<(), Pkcs11Error> {
        let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
        if !*begun {
            initialise(&self.context).map_err(|error| Pkcs11Error::Module {
                path: self.path.clone(),
                error,
            })?;
            *begun = true;
        }
        Ok(())
    }

    pub const fn context(&self) -> &Pkcs11 {
        &self.context
    }

    /// The slot of a token.
    pub fn slot(&self, choice: &TokenChoice) -> Result<Slot, Pkcs11Error> {
        let failed = |error| Pkcs11Error::Device {
            choice: choice.clone(),
            error,
        };
        for slot in self.context.get_slots_with_token().map_err(failed)? {
            let found = match choice {
                TokenChoice::Slot(wanted) => slot.id() == *wanted,
                TokenChoice::Label(label) => self
                    .context
                    .get_token_info(slot)
                    .is_ok_and(|info| info.label() == label),
                TokenChoice::Serial(serial) => self
                    .context
                    .get_token_info(slot)
                    .is_ok_and(|info| info.serial_number() == serial),
            };
            if found {
                return Ok(slot);
            }
        }
        Err(Pkcs11Error::NoToken(choice.clone()))
    }

    /// A session on a token that is logged in. It is not closed by itself: after a new start of the library
    /// its handle may be another's.
    pub fn session(
        &self,
        choice: &TokenChoice,
        pin: Option<&AuthPin>,
    ) -> Result<Session, Pkcs11Error> {
        let failed = |error| Pkcs11Error::Device {
            choice: choice.clone(),
            error,
        };
        self.begin()?;
        let slot = self.slot(choice)?;
        self.log_in(choice, slot, pin)?;
        self.context.open_ro_session_no_drop(slot).map_err(failed)
    }

    fn log_in(
        &self,
        choice: &TokenChoice,
        slot: Slot,
        pin: Option<&AuthPin>,
    ) -> Result<(), Pkcs11Error> {
        let failed = |error| Pkcs11Error::Device {
            choice: choice.clone(),
            error,
        };
        let Some(pin) = pin else {
            return Ok(());
        };
        let login = Arc::clone(self.logins().entry(slot.id()).or_default());
        let mut login = login.lock().unwrap_or_else(PoisonError::into_inner);
        if login.kept.as_ref().is_some_and(is_user) {
            return Ok(());
        }
        if login
            .refused
            .iter()
            .any(|refused| is_same_pin(refused, pin))
        {
            return Err(Pkcs11Error::PinRefused(choice.clone()));
        }
        let session = match login.kept.take() {
            // The token has logged everybody out.
            Some(session) if session.get_session_info().is_ok() => session,
            _ => self.context.open_ro_session_no_drop(slot).map_err(failed)?,
        };
        match session.login(UserType::User, Some(pin)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                login.kept = Some(session);
                Ok(())
            }
            Err(error) => {
                let _ = session.close();
                if refuses_pin(&error) {
                    login.refused.push(pin.clone());
                    return Err(Pkcs11Error::PinRefused(choice.clone()));
                }
                Err(failed(error))
            }
        }
    }

    /// Counts a session that signs, until it is told that it no longer does.
    pub fn works(&self, yes: bool) {
        if yes {
            self.working.fetch_add(1, Ordering::AcqRel);
        } else {
            self.working.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Starts the library anew, unless something in it works, another did since `generation`, or a call is
    /// stuck inside. Where it does not start, whoever opens a session tries again.
    pub fn start_anew(&self, generation: u64) {
        const TRIES: u32 = 100;
        for _ in 0..TRIES {
            if self.working.load(Ordering::Acquire) > 0 {
                return;
            }
            if let Ok(mut gate) = self.gate.try_write() {
                if *gate != generation {
                    return;
                }
                // No call is inside, so that nobody holds one of them.
                for login in self.logins().values() {
                    let mut login = login.lock().unwrap_or_else(PoisonError::into_inner);
                    login.kept = None;
                }
                let _ = self.context.clone().finalize();
                *self.begun.lock().unwrap_or_else(PoisonError::into_inner) = false;
                *gate += 1;
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn logins(&self) -> MutexGuard<'_, HashMap<u64, Arc<Mutex<Login>>>> {
        self.logins.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether two PINs are one.
pub fn is_same_pin(one: &AuthPin, other: &AuthPin) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// Whether it is the PIN that the token does not take.
pub fn refuses_pin(error: &Error) -> bool {
    matches!(
        error,
        Error::Pkcs11(
            RvError::PinIncorrect
                | RvError::PinInvalid
                | RvError::PinLenRange
                | RvError::PinExpired
                | RvError::PinLocked,
            _,
        )
    )
}

fn is_user(session: &Session) -> bool {
    session.get_session_info().is_ok_and(|info| {
        matches!(
            info.session_state(),
            SessionState::RoUser | SessionState::RwUser
        )
    })
}
