//! A PKCS #11 module for tests. It forwards every call to SoftHSM (`FAULTY_PKCS11_MODULE`), and does to the calls
//! that signing is made of what the control file (`FAULTY_PKCS11_CONTROL`) says, read at every signature:
//!
//! - `delay MS`: C_Sign takes this long, the real one included;
//! - `fail CKR COUNT`: the next COUNT calls of C_Sign since the file was written return this number;
//! - `dead CKR`: C_OpenSession and C_Sign return it;
//! - `dead-until-initialize CKR`: the same, until C_Initialize is called;
//! - `fail-initialize CKR`: C_Initialize returns it;
//! - `fail-login CKR`: C_Login returns it;
//! - `hang-open SLOT`: C_OpenSession on the token in this slot does not return before the file is empty;
//! - `away SLOT`: nothing can be done on the token in this slot (CKR_TOKEN_NOT_PRESENT);
//! - `lose COUNT`: at each of the next COUNT calls of C_Sign the token ends all sessions, and with them its login;
//! - `hang`: C_Sign does not return while the file says so;
//! - `corrupt COUNT`: the next COUNT signatures have a bit turned;
//! - `old-attributes`: C_GetAttributeValue does not know where a key has been, and reads nothing where it is asked;
//!   C_GenerateKeyPair takes no CKA_DECRYPT.
//!
//! Calls are counted by name in the control file's neighbour, `.calls`, at C_Finalize and after each C_Sign.
#![allow(non_snake_case, clippy::missing_safety_doc)]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    mem::MaybeUninit,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError, RwLock, RwLockReadGuard},
    thread,
    time::{Duration, Instant, SystemTime},
};

use cryptoki_sys::{
    CK_ATTRIBUTE_PTR, CK_BYTE_PTR, CK_FUNCTION_LIST, CK_FUNCTION_LIST_PTR,
    CK_FUNCTION_LIST_PTR_PTR, CK_MECHANISM_PTR, CK_OBJECT_HANDLE, CK_OBJECT_HANDLE_PTR, CK_RV,
    CK_SESSION_HANDLE, CK_SESSION_INFO_PTR, CK_ULONG, CK_ULONG_PTR, CKA_ALWAYS_SENSITIVE,
    CKA_DECRYPT, CKA_LOCAL, CKA_NEVER_EXTRACTABLE, CKR_ATTRIBUTE_TYPE_INVALID, CKR_FUNCTION_FAILED,
    CKR_OK, CKR_TEMPLATE_INCONSISTENT, CKR_TOKEN_NOT_PRESENT, Pkcs11,
};

struct Real {
    _library: Pkcs11,
    list: CK_FUNCTION_LIST,
}

static REAL: OnceLock<Real> = OnceLock::new();
static OURS: OnceLock<CK_FUNCTION_LIST> = OnceLock::new();
static STATE: Mutex<State> = Mutex::new(State {
    written: None,
    done: 0,
    initialized: false,
    calls: BTreeMap::new(),
});

/// SoftHSM frees a session that ends, also under a thread that is in a call on it. Whoever calls it holds this for
/// reading, and whoever ends all sessions for writing.
static ENDING: RwLock<()> = RwLock::new(());

fn enter() -> RwLockReadGuard<'static, ()> {
    ENDING.read().unwrap_or_else(PoisonError::into_inner)
}

struct State {
    /// When the control file that `done` counts for was written.
    written: Option<SystemTime>,
    /// Faults dealt out since then.
    done: u64,
    /// C_Initialize was called since then.
    initialized: bool,
    calls: BTreeMap<&'static str, u64>,
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn control() -> OsString {
    std::env::var_os("FAULTY_PKCS11_CONTROL").unwrap_or_default()
}

/// The control file's words, if there is one.
fn order() -> Vec<String> {
    let text = fs::read_to_string(control()).unwrap_or_default();
    let written = fs::metadata(control())
        .and_then(|metadata| metadata.modified())
        .ok();
    let mut state = state();
    if state.written != written {
        state.written = written;
        state.done = 0;
        state.initialized = false;
    }
    text.split_whitespace().map(str::to_owned).collect()
}

/// Whether one of `count` faults is left to deal out.
fn one_of(count: &str) -> bool {
    let mut state = state();
    state.done += 1;
    count.parse().is_ok_and(|count: u64| state.done <= count)
}

fn count(name: &'static str) {
    *state().calls.entry(name).or_default() += 1;
}

fn write_counts() {
    let mut path = control();
    path.push(".calls");
    // Under the lock, so that a reader never finds two writes in one another.
    let state = state();
    let text: String = state
        .calls
        .iter()
        .map(|(name, count)| format!("{name} {count}\n"))
        .collect();
    let mut next = path.clone();
    next.push(".next");
    let _ = fs::write(&next, text).and_then(|()| fs::rename(next, path));
}

fn real() -> &'static CK_FUNCTION_LIST {
    &REAL.get_or_init(load).list
}

fn load() -> Real {
    let path = std::env::var_os("FAULTY_PKCS11_MODULE").expect("FAULTY_PKCS11_MODULE is not set");
    // SAFETY: SoftHSM is a PKCS #11 module; its list is valid as long as the library is loaded.
    unsafe {
        let library = Pkcs11::new(path).expect("the module behind cannot be loaded");
        let mut list = MaybeUninit::<CK_FUNCTION_LIST_PTR>::uninit();
        assert_eq!(library.C_GetFunctionList(list.as_mut_ptr()), CKR_OK);
        let list = *list.assume_init();
        Real {
            _library: library,
            list,
        }
    }
}

/// The entry point: SoftHSM's functions but for a few.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn C_GetFunctionList(list: CK_FUNCTION_LIST_PTR_PTR) -> CK_RV {
    let ours = OURS.get_or_init(|| {
        let mut ours = *real();
        ours.C_Initialize = Some(initialize);
        ours.C_OpenSession = Some(open_session);
        ours.C_CloseSession = Some(close_session);
        ours.C_GetSessionInfo = Some(session_info);
        ours.C_Login = Some(login);
        ours.C_FindObjectsInit = Some(find_objects_init);
        ours.C_FindObjects = Some(find_objects);
        ours.C_FindObjectsFinal = Some(find_objects_final);
        ours.C_GetAttributeValue = Some(attribute_value);
        ours.C_GenerateKeyPair = Some(generate_key_pair);
        ours.C_SignInit = Some(sign_init);
        ours.C_Sign = Some(sign);
        ours
    });
    // SAFETY: the caller gives a place for one pointer, and nobody writes through it (PKCS #11 5.4).
    unsafe { *list = std::ptr::from_ref(ours).cast_mut() };
    CKR_OK
}

/// Counts the call and lets it through.
macro_rules! forward {
    ($($name:ident: $call:ident($($argument:ident: $type:ty),*);)*) => {$(
        unsafe extern "C" fn $name($($argument: $type),*) -> CK_RV {
            count(stringify!($call));
            let _inside = enter();
            // SAFETY: the arguments go through as they came.
            unsafe { real().$call.unwrap()($($argument),*) }
        }
    )*};
}

forward! {
    close_session: C_CloseSession(session: CK_SESSION_HANDLE);
    session_info: C_GetSessionInfo(session: CK_SESSION_HANDLE, info: CK_SESSION_INFO_PTR);
    find_objects_init: C_FindObjectsInit(session: CK_SESSION_HANDLE, template: CK_ATTRIBUTE_PTR, length: CK_ULONG);
    find_objects: C_FindObjects(
        session: CK_SESSION_HANDLE, objects: CK_OBJECT_HANDLE_PTR, most: CK_ULONG, found: CK_ULONG_PTR
    );
    find_objects_final: C_FindObjectsFinal(session: CK_SESSION_HANDLE);
    sign_init: C_SignInit(session: CK_SESSION_HANDLE, mechanism: CK_MECHANISM_PTR, key: CK_OBJECT_HANDLE);
}

/// What is to be returned where this is the order.
fn fails(wanted: &str) -> Option<CK_RV> {
    match order().as_slice() {
        [word, code] if word == wanted => Some(code_of(code)),
        _ => None,
    }
}

/// The same for what ends with C_Initialize.
fn fails_until_initialize() -> Option<CK_RV> {
    let code = fails("dead-until-initialize");
    code.filter(|_| !state().initialized)
}

fn code_of(word: &str) -> CK_RV {
    word.parse().unwrap_or(CKR_FUNCTION_FAILED)
}

unsafe extern "C" fn initialize(arguments: *mut std::os::raw::c_void) -> CK_RV {
    count("C_Initialize");
    write_counts();
    if let Some(code) = fails("fail-initialize") {
        return code;
    }
    state().initialized = true;
    // SAFETY: the arguments go through as they came.
    unsafe { real().C_Initialize.unwrap()(arguments) }
}

unsafe extern "C" fn open_session(
    slot: cryptoki_sys::CK_SLOT_ID,
    flags: cryptoki_sys::CK_FLAGS,
    application: *mut std::os::raw::c_void,
    notify: cryptoki_sys::CK_NOTIFY,
    session: cryptoki_sys::CK_SESSION_HANDLE_PTR,
) -> CK_RV {
    count("C_OpenSession");
    if let Some(code) = fails("dead").or_else(fails_until_initialize) {
        return code;
    }
    if is_away(&order(), slot) {
        return CKR_TOKEN_NOT_PRESENT;
    }
    if order() == ["hang-open".to_owned(), slot.to_string()] {
        count("hanging-C_OpenSession");
        write_counts();
        while !order().is_empty() {
            thread::sleep(Duration::from_millis(20));
        }
    }
    let _inside = enter();
    // SAFETY: the arguments go through as they came.
    unsafe { real().C_OpenSession.unwrap()(slot, flags, application, notify, session) }
}

fn is_away(order: &[String], slot: cryptoki_sys::CK_SLOT_ID) -> bool {
    matches!(order, [word, away] if word == "away" && *away == slot.to_string())
}

fn slot_of(session: CK_SESSION_HANDLE) -> cryptoki_sys::CK_SLOT_ID {
    let _inside = enter();
    let mut info = MaybeUninit::uninit();
    // SAFETY: there is room for one CK_SESSION_INFO, which is read only where it was written.
    unsafe {
        match real().C_GetSessionInfo.unwrap()(session, info.as_mut_ptr()) {
            CKR_OK => info.assume_init().slotID,
            _ => cryptoki_sys::CK_SLOT_ID::MAX,
        }
    }
}

unsafe extern "C" fn attribute_value(
    session: CK_SESSION_HANDLE,
    object: CK_OBJECT_HANDLE,
    template: CK_ATTRIBUTE_PTR,
    length: CK_ULONG,
) -> CK_RV {
    const NEW: [CK_ULONG; 3] = [CKA_LOCAL, CKA_ALWAYS_SENSITIVE, CKA_NEVER_EXTRACTABLE];
    count("C_GetAttributeValue");
    // SAFETY: the caller gives so many attributes.
    let wanted = unsafe { std::slice::from_raw_parts(template, length.try_into().unwrap()) };
    if order() == ["old-attributes"] && wanted.iter().any(|one| NEW.contains(&one.type_)) {
        return CKR_ATTRIBUTE_TYPE_INVALID;
    }
    let _inside = enter();
    // SAFETY: the arguments go through as they came.
    unsafe { real().C_GetAttributeValue.unwrap()(session, object, template, length) }
}

unsafe extern "C" fn generate_key_pair(
    session: CK_SESSION_HANDLE,
    mechanism: CK_MECHANISM_PTR,
    public: CK_ATTRIBUTE_PTR,
    public_length: CK_ULONG,
    private: CK_ATTRIBUTE_PTR,
    private_length: CK_ULONG,
    public_key: CK_OBJECT_HANDLE_PTR,
    private_key: CK_OBJECT_HANDLE_PTR,
) -> CK_RV {
    count("C_GenerateKeyPair");
    write_counts();
    // SAFETY: the caller gives so many attributes.
    let wanted = unsafe { std::slice::from_raw_parts(private, private_length.try_into().unwrap()) };
    if order() == ["old-attributes"] && wanted.iter().any(|one| one.type_ == CKA_DECRYPT) {
        return CKR_TEMPLATE_INCONSISTENT;
    }
    let _inside = enter();
    // SAFETY: the arguments go through as they came.
    unsafe {
        real().C_GenerateKeyPair.unwrap()(
            session,
            mechanism,
            public,
            public_length,
            private,
            private_length,
            public_key,
            private_key,
        )
    }
}

unsafe extern "C" fn login(
    session: CK_SESSION_HANDLE,
    user: cryptoki_sys::CK_USER_TYPE,
    pin: cryptoki_sys::CK_UTF8CHAR_PTR,
    length: CK_ULONG,
) -> CK_RV {
    count("C_Login");
    write_counts();
    if let Some(code) = fails("fail-login") {
        return code;
    }
    let _inside = enter();
    // SAFETY: the arguments go through as they came.
    unsafe { real().C_Login.unwrap()(session, user, pin, length) }
}

unsafe extern "C" fn sign(
    session: CK_SESSION_HANDLE,
    data: CK_BYTE_PTR,
    data_length: CK_ULONG,
    signature: CK_BYTE_PTR,
    signature_length: CK_ULONG_PTR,
) -> CK_RV {
    let real_sign = || {
        let _inside = enter();
        // SAFETY: the arguments go through as they came.
        unsafe { real().C_Sign.unwrap()(session, data, data_length, signature, signature_length) }
    };
    if signature.is_null() {
        // Asked for the length only.
        return real_sign();
    }
    // The operation that C_SignInit began ends with the real call.
    let end = |code| {
        real_sign();
        write_counts();
        code
    };
    count("C_Sign");
    let start = Instant::now();
    let (mut corrupt, mut least) = (false, Duration::ZERO);
    loop {
        let order = order();
        let words: Vec<_> = order.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["hang"] => {
                thread::sleep(Duration::from_millis(20));
                continue;
            }
            ["delay", ms] => least = Duration::from_millis(ms.parse().unwrap_or(0)),
            ["fail", code, times] if one_of(times) => return end(code_of(code)),
            ["dead", code] => return end(code_of(code)),
            ["dead-until-initialize", code] if !state().initialized => return end(code_of(code)),
            ["away", _] if is_away(&order, slot_of(session)) => return end(CKR_TOKEN_NOT_PRESENT),
            ["lose", times] if one_of(times) => {
                let slot = slot_of(session);
                let _alone = ENDING.write().unwrap_or_else(PoisonError::into_inner);
                // SAFETY: the function takes any number.
                unsafe { real().C_CloseAllSessions.unwrap()(slot) };
            }
            ["corrupt", times] => corrupt = one_of(times),
            _ => {}
        }
        break;
    }
    let result = real_sign();
    if corrupt && result == CKR_OK {
        // SAFETY: the real module has just written at least one octet there.
        unsafe { *signature ^= 1 };
    }
    if least.is_zero() {
        write_counts();
    } else {
        // The real call's own time is part of it; and no file is written where time is measured.
        thread::sleep(least.saturating_sub(start.elapsed()));
    }
    result
}
