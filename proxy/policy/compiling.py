"""Compiles a policy file to `compiled` objects, or reports every mistake in it at once, each with its place.

The caller says where descriptors come from (`Sources`); this module does no I/O.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path

from proxy.policy import form
from proxy.policy.checking import Checker, name_of
from proxy.policy.compiled import Policy, Service
from proxy.policy.compiled_events import Event
from proxy.policy.compiling_events import compile_event
from proxy.policy.compiling_methods import compile_read, compile_write
from proxy.policy.descriptors import BadDescriptors, Descriptors, Method
from proxy.policy.document import Document, Source
from proxy.policy.expressions import Language
from proxy.policy.mistakes import PolicyError, not_understood, unknown
from proxy.settings.setting_types import GrpcTarget
from proxy.settings.upstream_tls import UpstreamTls
from proxy.settings.vary_rules import withheld

REFLECTION = "reflection"
BUILTIN = "builtin"
"""Stands for the built-in policy's directory in the paths of descriptors."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a policy's descriptors and its services' addresses come from. The callables raise BadDescriptors."""

    file: Callable[[str], Descriptors]
    """Takes the path as the policy gives it."""
    reflection: Callable[[str, UpstreamTls | None, str], Descriptors]
    """Takes an upstream (empty means the default), its TLS settings (None means the default ones), and a service."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """The environment's address of each service, by its `address_variable`."""
    transport: str = "grpcio"
    """The transport that the policy is served with, as in TRANSPORT."""


@cache
def builtin_text() -> str:
    """The text of the built-in policy's file."""
    return files("proxy.policy").joinpath("builtin", "media.yaml").read_text(encoding="utf-8")


@cache
def _builtin_descriptors(name: str) -> Descriptors:
    return Descriptors.of(files("proxy.policy").joinpath("builtin", name).read_bytes())


def builtin_policy(constants: Mapping[str, int]) -> Policy:
    """The policy that is served if POLICY is empty. `constants` are whole numbers that expressions may name."""
    return compile_policy(builtin_text(), "builtin/media.yaml", _NO_SOURCES, constants)


def compile_policy(text: str, file: str, sources: Sources, constants: Mapping[str, int]) -> Policy:
    """The policy in a file's text; raises PolicyError with every mistake in it.

    `file` is the path to show in mistakes; `constants` are whole numbers that expressions may name.
    """
    given, document = form.read_policy(text, file)
    compiler = _Compiler(document, sources, constants)
    services = {service.name: service for each in given.services or () if (service := compiler.service(each))}
    events = [compiler.event(each) for each in (*compiler.builtin_events, *(given.events or ()))]
    if document.mistakes:
        raise PolicyError(document.mistakes)
    found = [event for event in events if event is not None]
    if len(services) > 1:
        services = {name: _with_share(service) for name, service in services.items()}
    kinds = frozenset(key.rpartition(".")[2] for event in found for key in event.routing_keys)
    return Policy(services, tuple(replace(event, kinds=kinds) for event in found))


def _with_share(service: Service) -> Service:
    """The service of a policy with several: its writes flush only its own share."""
    return replace(service, writes={path: replace(each, share=service.name) for path, each in service.writes.items()})


class _Compiler:
    def __init__(self, document: Document, sources: Sources, constants: Mapping[str, int]) -> None:
        self.builtin_events: tuple[form.Event, ...] = ()
        """The events of the built-in services that the policy includes."""
        self._document = document
        self._sources = sources
        self._constants = constants
        self._seen: set[str] = set()
        self._queues: set[str] = set()
        self._descriptors: dict[str, Descriptors] = {}
        self._files: dict[str, Descriptors] = {}
        self._languages: dict[Descriptors, Language] = {}
        self._builtin = file_is_builtin(document)

    def service(self, given: form.Service) -> Service | None:
        """A service with its methods; None after a mistake that leaves nothing more to check in it."""
        if given.name is None:
            return None
        name, named = given.name.text, given.name.place
        if name in self._seen:
            self._document.wrong(given.name.place, f"service: {name} appears twice; accepted: each service once")
            return None
        self._seen.add(name)
        taken_in = bool(given.builtin)
        if taken_in:
            merged = self._with_builtin(given)
            if merged is None:
                return None
            given = merged
        given = self._addressed(given)
        descriptors = self._descriptors_of(given, name, builtin=taken_in or self._builtin)
        if descriptors is None:
            return None
        try:
            methods = descriptors.methods(name)
        except KeyError:
            self._document.wrong(named, f"service: {unknown('service', name, descriptors.services())}")
            return None
        self._descriptors[name] = descriptors
        checker = Checker(self._document, self._language(descriptors))
        reads = [compile_read(checker, name, each, self._method(methods, each.method)) for each in given.reads or ()]
        writes = [
            compile_write(checker, name, each, self._method(methods, each.method), methods)
            for each in given.writes or ()
        ]
        self._each_once(given)
        self._each_arrives(given)
        return Service(
            name,
            given.upstream or "",
            upstream_tls(self._document, given.upstream_tls, name),
            given.address_variable.text if given.address_variable else "",
            tuple(method.path for method in methods.values() if method.unary),
            {read.path: read for read in reads if read is not None},
            {write.path: write for write in writes if write is not None},
            descriptors,
            builtin=taken_in or self._builtin,
        )

    def event(self, given: form.Event) -> Event | None:
        """An event; None after a mistake."""
        event = compile_event(self._document, given, self._descriptors, self._constants)
        if event is not None and event.queue in self._queues:
            self._document.wrong(
                given.at_key("queue"),
                f"event: the queue {event.queue!r} is another event's; accepted: a queue of its own",
            )
        if event is not None:
            self._queues.add(event.queue)
        return event

    def _addressed(self, given: form.Service) -> form.Service:
        """The service with its address from the environment, where the injector puts the app's own value."""
        variable = given.address_variable
        address = self._sources.addresses.get(variable.text, "").strip() if variable else ""
        if not variable or not address:
            return given
        try:
            return replace(given, upstream=GrpcTarget().parse(address))
        except ValueError:
            self._document.wrong(variable.place, not_understood(variable.text, address, GrpcTarget.accepted))
            return given

    def _with_builtin(self, given: form.Service) -> form.Service | None:
        builtin, _ = form.read_policy(builtin_text(), "builtin/media.yaml")
        known = {service.name.text: service for service in builtin.services or () if service.name}
        name = given.name.text if given.name else ""
        if name not in known:
            self._document.wrong(given.at_key("builtin"), f"service: {unknown('built-in service', name, known)}")
            return None
        self.builtin_events = builtin.events or ()
        base = known[name]
        reads = {each.method.text: each for each in base.reads or () if each.method}
        writes = {each.method.text: each for each in base.writes or () if each.method}
        for read in given.reads or ():
            method = read.method.text if read.method else ""
            reads[method] = form.overridden(reads[method], read) if method in reads else read
        for write in given.writes or ():
            method = write.method.text if write.method else ""
            writes[method] = form.overridden(writes[method], write) if method in writes else write
        merged = form.overridden(base, given)
        merged.reads, merged.writes = tuple(reads.values()), tuple(writes.values())
        return merged

    def _descriptors_of(self, given: form.Service, name: str, *, builtin: bool) -> Descriptors | None:
        source = given.descriptors
        if source is None:
            self._document.wrong(
                given.place,
                f"service: descriptors is missing for {name}; accepted: the path of a FileDescriptorSet, or reflection",
            )
            return None
        try:
            if source.text == REFLECTION:
                return self._sources.reflection(
                    given.upstream or "", upstream_tls(self._document, given.upstream_tls, name), name
                )
            if builtin and source.place.file == "builtin/media.yaml":
                return _builtin_descriptors(source.text)
            if source.text not in self._files:
                self._files[source.text] = self._sources.file(source.text)
            return self._files[source.text]
        except BadDescriptors as bad:
            self._document.wrong(source.place, f"service: descriptors: {source.text} {bad}")
            return None

    def _method(self, methods: Mapping[str, Method], source: Source | None) -> Method | None:
        """The unary method that a read or a write names; None after a mistake."""
        if source is None:
            return None
        method = methods.get(source.text)
        if method is None:
            self._document.wrong(source.place, unknown("method", source.text, methods))
        elif not method.unary:
            unary = ", ".join(each.name for each in methods.values() if each.unary) or "none"
            self._document.wrong(source.place, f"{source.text} is a streaming method; accepted: unary ones: {unary}")
            return None
        return method

    def _language(self, descriptors: Descriptors) -> Language:
        """The language of these descriptors: services from one set share it."""
        if descriptors not in self._languages:
            methods = [each for name in descriptors.services() for each in descriptors.methods(name).values()]
            asked = [("request", name_of(method.request)) for method in methods if method.unary]
            answered = [("response", name_of(method.response)) for method in methods if method.unary]
            self._languages[descriptors] = Language(descriptors.pool, self._constants, (*asked, *answered))
        return self._languages[descriptors]

    def _each_arrives(self, given: form.Service) -> None:
        """Reports `vary` metadata that never reaches the proxy: it could not tell callers apart."""
        for read in given.reads or ():
            name = read.method.text if read.method else ""
            if told := withheld(read.vary or (), self._sources.transport, f"read {name}: vary"):
                self._document.wrong(read.at_key("vary"), told)

    def _each_once(self, given: form.Service) -> None:
        seen: set[str] = set()
        named = [*(read.method for read in given.reads or ()), *(write.method for write in given.writes or ())]
        for method in named:
            if method is not None and method.text in seen:
                text = f"{method.text} appears twice; accepted: each method once, as a read or as a write"
                self._document.wrong(method.place, text)
            seen.add(method.text if method is not None else "")


def upstream_tls(document: Document, given: form.UpstreamTls | None, name: str) -> UpstreamTls | None:
    """A service's TLS settings from `upstream_tls`, with paths relative to the policy; None if there are none."""
    if given is None:
        return None
    what = f"service: upstream_tls of {name}"
    off = given.mode is not None and given.mode.text == "off"
    files = {part: getattr(given, part) or "" for part in ("ca", "cert", "key")}
    if bool(files["cert"]) is not bool(files["key"]):
        document.wrong(given.place, f"{what}: only one of cert and key is given; accepted: both, or neither")
    if off and (given.server_name or any(files.values())):
        document.wrong(
            given.at_key("mode"), f"{what}: mode is off, but other keys are given; accepted: mode: off alone"
        )
    beside = {part: str(Path(document.file).parent / path) for part, path in files.items() if path}
    return UpstreamTls(**beside, server_name=given.server_name or "", on=not off, said_by=f"POLICY: {what}")


def file_is_builtin(document: Document) -> bool:
    """Whether the document is the built-in policy itself."""
    return document.file == "builtin/media.yaml"


def _no_file(path: str) -> Descriptors:
    raise BadDescriptors("cannot be read here")


_NO_SOURCES = Sources(file=_no_file, reflection=lambda _, tls, service: _no_file(service))
