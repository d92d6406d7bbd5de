//! Conversions of route options from and to the wire.

use std::time::Duration;

use super::error::InvalidMessageError;
use crate::feed::wire;
use crate::model::options::HostHeader;
use crate::model::{Balance, HealthCheck, InvalidHealthCheckError, Probe, RouteOptions};

/// Reads the options of a route. A required option that this build does not know is an error.
pub(super) fn read(route: &wire::Route) -> Result<RouteOptions, InvalidMessageError> {
    if let Some(name) = route.requires.iter().find(|name| !RouteOptions::NAMES.contains(&name.as_str())) {
        return Err(InvalidMessageError::UnknownOption(name.clone()));
    }
    if !route.options_json.is_empty() {
        return serde_json::from_str(&route.options_json)
            .map_err(|error| InvalidMessageError::Options(error.to_string()));
    }
    let Some(options) = &route.options else {
        // An older controlplane knows these two options only.
        let (balance, health) = (read_balance(route.balance)?, read_health(route.health.as_ref())?);
        return Ok(RouteOptions { balance, health, ..RouteOptions::default() });
    };
    Ok(RouteOptions {
        balance: read_balance(options.balance)?,
        health: read_health(options.health.as_ref())?,
        host_header: read_host_header(options.host_header)?,
        ..RouteOptions::default()
    })
}

/// Adds the options to the message of their route.
pub(super) fn write(options: &RouteOptions, route: wire::Route) -> wire::Route {
    let requires: Vec<String> = options.non_defaults().into_iter().map(str::to_owned).collect();
    if requires.is_empty() {
        return route;
    }
    let (balance, health) = (write_balance(options.balance), options.health.as_ref().map(write_health));
    let host_header = write_host_header(options.host_header);
    let message = wire::RouteOptions { balance, health: health.clone(), host_header };
    // Options are always representable as JSON: all keys of their maps are strings.
    let options_json = serde_json::to_string(options).unwrap_or_default();
    wire::Route { balance, health, options: Some(message), requires, options_json, ..route }
}

fn read_balance(balance: i32) -> Result<Balance, InvalidMessageError> {
    match wire::Balance::try_from(balance) {
        Ok(wire::Balance::RoundRobin) => Ok(Balance::RoundRobin),
        Ok(wire::Balance::Random) => Ok(Balance::Random),
        Ok(wire::Balance::LeastConnections) => Ok(Balance::LeastConnections),
        Ok(wire::Balance::ClientHash) => Ok(Balance::ClientHash),
        Err(_) => Err(InvalidMessageError::Enum("balance", balance)),
    }
}

fn write_balance(balance: Balance) -> i32 {
    match balance {
        Balance::RoundRobin => wire::Balance::RoundRobin.into(),
        Balance::Random => wire::Balance::Random.into(),
        Balance::LeastConnections => wire::Balance::LeastConnections.into(),
        Balance::ClientHash => wire::Balance::ClientHash.into(),
    }
}

fn read_host_header(host_header: i32) -> Result<HostHeader, InvalidMessageError> {
    match wire::HostHeader::try_from(host_header) {
        Ok(wire::HostHeader::Preserve) => Ok(HostHeader::Preserve),
        Ok(wire::HostHeader::Backend) => Ok(HostHeader::Backend),
        Err(_) => Err(InvalidMessageError::Enum("host_header", host_header)),
    }
}

fn write_host_header(host_header: HostHeader) -> i32 {
    match host_header {
        HostHeader::Preserve => wire::HostHeader::Preserve.into(),
        HostHeader::Backend => wire::HostHeader::Backend.into(),
    }
}

fn read_health(check: Option<&wire::HealthCheck>) -> Result<Option<HealthCheck>, InvalidHealthCheckError> {
    let read = |check: &wire::HealthCheck| {
        let path = Some(check.path.as_str()).filter(|path| !path.is_empty());
        HealthCheck::new(path, Duration::from_millis(check.interval_ms.into()), check.rise, check.fall)
    };
    check.map(read).transpose()
}

fn write_health(check: &HealthCheck) -> wire::HealthCheck {
    let path = match check.probe() {
        Probe::Tcp => String::new(),
        Probe::Http(path) => path.clone(),
    };
    let interval_ms = u32::try_from(check.interval().as_millis()).unwrap_or(u32::MAX);
    wire::HealthCheck { path, interval_ms, rise: check.rise(), fall: check.fall() }
}
