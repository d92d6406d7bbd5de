//! The tables that the migrations create, for Diesel.

diesel::table! {
    meta (key) {
        key -> Text,
        value -> Text,
    }
}

diesel::table! {
    revision (id) {
        id -> BigInt,
        value -> BigInt,
    }
}

diesel::table! {
    users (key_id) {
        key_id -> Text,
        suspended -> Bool,
        version -> BigInt,
        first_seen -> BigInt,
        suspended_reason -> Nullable<Text>,
        suspended_since -> Nullable<BigInt>,
        suspended_until -> Nullable<BigInt>,
        quota_routes -> Nullable<BigInt>,
        quota_backends -> Nullable<BigInt>,
        quota_mutations -> Nullable<BigInt>,
        route_count -> BigInt,
        backend_count -> BigInt,
    }
}

diesel::table! {
    routes (id) {
        id -> Text,
        owner -> Text,
        host -> Text,
        mode -> Text,
        backends -> Text,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        options -> Text,
        reversed -> Text,
        held -> Bool,
    }
}

diesel::table! {
    claims (route_id) {
        route_id -> Text,
        owner -> Text,
        host -> Text,
        displaced -> Bool,
        since -> BigInt,
        expires_at -> BigInt,
        check_at -> BigInt,
        checked_at -> Nullable<BigInt>,
        reason -> Text,
        records -> Text,
    }
}

diesel::table! {
    tombstones (route_id) {
        route_id -> Text,
        version -> BigInt,
        deleted_at -> BigInt,
    }
}

diesel::table! {
    certificates (id) {
        id -> Text,
        names -> Text,
        chain -> Text,
        sealed_key -> Binary,
        issuer -> Text,
        not_before -> BigInt,
        not_after -> BigInt,
        version -> BigInt,
        state -> Text,
    }
}

diesel::table! {
    certificate_names (name, certificate_id) {
        name -> Text,
        certificate_id -> Text,
    }
}

diesel::table! {
    audit (id) {
        id -> BigInt,
        at -> BigInt,
        caller -> Text,
        client -> Text,
        method -> Text,
        target -> Text,
        before -> Nullable<Text>,
        after -> Nullable<Text>,
        revision -> BigInt,
        request -> Nullable<Text>,
        hash -> Nullable<Text>,
    }
}

diesel::table! {
    audit_requests (hash) {
        hash -> Text,
        evidence -> Text,
    }
}

diesel::table! {
    nonces (key_id, nonce) {
        key_id -> Text,
        nonce -> Text,
        expires_at -> BigInt,
    }
}

diesel::table! {
    acme_accounts (directory) {
        directory -> Text,
        sealed_credentials -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    acme_orders (certificate_id, directory) {
        certificate_id -> Text,
        directory -> Text,
        url -> Text,
        names -> Text,
        sealed_key -> Binary,
        created_at -> BigInt,
    }
}

diesel::table! {
    issuance (certificate_id) {
        certificate_id -> Text,
        failures -> BigInt,
        next_attempt -> Nullable<BigInt>,
        last_error -> Nullable<Text>,
        last_ca -> Nullable<Text>,
        records -> Text,
        missing_since -> Nullable<BigInt>,
        renew_requested -> Bool,
        renew_at -> Nullable<BigInt>,
        ask_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    budgets (rowid) {
        rowid -> BigInt,
        directory -> Text,
        kind -> Text,
        subject -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    node_authority (id) {
        id -> BigInt,
        certificate -> Binary,
        sealed_key -> Binary,
    }
}

diesel::table! {
    node_invites (secret_hash) {
        secret_hash -> Binary,
        name -> Text,
        expires_at -> BigInt,
        used_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    nodes (name) {
        name -> Text,
        member -> Nullable<Text>,
        fingerprint -> Nullable<Binary>,
        not_after -> Nullable<BigInt>,
        drained -> Bool,
        joined_at -> Nullable<BigInt>,
        removed_at -> Nullable<BigInt>,
        version -> BigInt,
    }
}

diesel::table! {
    route_traffic (route_id, hour, node) {
        route_id -> Text,
        hour -> BigInt,
        node -> Text,
        requests -> BigInt,
        bytes -> BigInt,
        counts -> Text,
    }
}

diesel::joinable!(routes -> users (owner));
diesel::allow_tables_to_appear_in_same_query!(routes, users);
diesel::allow_tables_to_appear_in_same_query!(route_traffic, routes);
diesel::allow_tables_to_appear_in_same_query!(issuance, certificates);
