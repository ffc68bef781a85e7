"""proxy.reloading: a changed policy is taken up whole, or not at all."""

import asyncio
import itertools
import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from proxy.core import Core, policy_by
from proxy.policy.compiled import Policy
from proxy.policy.loading import load_policy
from proxy.policy.watched import Watched
from proxy.reloading import Reloading
from proxy.served import Served
from proxy.settings.config import Settings
from proxy.telemetry.metrics import Metrics
from proxy.telemetry.policy_reloads import PolicyReloads
from tests.support.servers.waiting import until
from tests.support.services import policy_in


class Scene:
    def __init__(self, directory: Path, *, routes_of: str = "", **settings: Any) -> None:
        self.path = Path(policy_in(directory, product="shop:1"))
        self.settings = Settings(policy=f"{routes_of}{self.path}", redis_addr=None, **settings)
        self.core = Core.build(self.settings, Metrics())
        self.registry, self.registry2 = CollectorRegistry(), CollectorRegistry()
        self.parts: list[str] = []
        self.later: tuple[str, ...] = ()
        self.flushes: list[str] = []
        self.core.invalidations.flush_soon = self.flushes.append  # type: ignore[method-assign,assignment]  # counted
        self.reloading = Reloading(self.settings, self.core, PolicyReloads(self.registry), (self._first, self._second))

    async def _first(self, served: Served) -> Iterable[str]:
        assert served is self.core.served
        self.parts.append("first")
        return self.later

    async def _second(self, served: Served) -> Iterable[str]:
        self.parts.append("second")
        return ()

    def change(self, old: str, new: str) -> None:
        text = self.path.read_text()
        assert old in text
        self.path.write_text(text.replace(old, new))

    def cut(self, begin: str, end: str) -> None:
        before, _, rest = self.path.read_text().partition(begin)
        self.path.write_text(before + end + rest.partition(end)[2])

    def remove(self) -> None:
        self.path.unlink()

    def count(self, outcome: str) -> float | None:
        return self.registry.get_sample_value("media_cache_policy_reloads_total", {"outcome": outcome})


@asynccontextmanager
async def scene_in(directory: Path, **settings: Any) -> AsyncIterator[Scene]:
    scene = Scene(directory, **settings)
    try:
        yield scene
    finally:
        await scene.core.close()


@asynccontextmanager
async def watching(scene: Scene) -> AsyncIterator[None]:
    task = asyncio.create_task(scene.reloading.run(every=0.01))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


GET = "/product.ProductService/GetProductByID"


async def test_a_changed_file_is_taken_up_by_every_part_in_order(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene, watching(scene):
        scene.change("ttl: 5m", "ttl: 6m")
        await until(lambda: scene.count("taken") == 1, "it to be taken up")
        assert scene.parts == ["first", "second"]
        assert scene.core.policy.reads["/product.ProductService/GetAllProducts"].limits.ttl == 360
        assert scene.flushes == []


async def test_what_did_not_change_is_not_read_again(tmp_path: Path) -> None:
    async with scene_in(tmp_path) as scene:
        before, looks = scene.core.policy, 0

        class Looked(Watched):
            @property
            def changed(self) -> bool:
                nonlocal looks
                looks += 1
                return super().changed

        looked = Looked()
        looked._stamps = scene.core.files._stamps
        assert looked._stamps
        scene.reloading._files = looked
        async with watching(scene):
            await until(lambda: looks > 3, "some looks")
        assert scene.core.policy is before


async def test_a_bad_one_is_told_once_and_nothing_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with scene_in(tmp_path) as scene, watching(scene):
        before = scene.core.policy
        scene.change('string(request.id)"\n        store', 'string(request.idd)"\n        storr')
        await until(lambda: scene.count("refused") == 1, "it to be refused")
        assert scene.core.policy is before
        assert scene.parts == []
        (record,) = [each for each in caplog.records if "cannot be used" in each.message]
        assert record.levelno == logging.ERROR
        assert "policy.yaml:16:42: read GetProductByID: tag: " in record.message
        assert record.__dict__["mistakes"] == 2
        scene.remove()
        await until(lambda: scene.count("refused") == 2, "it to be refused again")


async def test_another_write_or_event_has_all_flushed_now_and_once_more(tmp_path: Path) -> None:
    async with scene_in(tmp_path, call_timeout=0.05) as scene:
        for old, new in (
            ("'slug/' + request.slug]\"\n      - method: Upd", "'slugs']\"\n      - method: Upd"),
            ("fields: {product_id: int64}", "fields: {product_id: int64, more: text?}"),
            ("[product.event.created, product.event.updated", "[product.event.updated"),
        ):
            scene.flushes.clear()
            scene.change(old, new)
            await scene.reloading.reload()
            assert len(scene.flushes) == 1, new
            await until(lambda: len(scene.flushes) == 2, "the second flush")


async def test_what_is_written_while_it_is_read_waits_for_the_next_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene_in(tmp_path) as scene:
        before, real = scene.core.policy, asyncio.to_thread

        async def meanwhile(*given: Any) -> Any:
            try:
                return await real(*given)
            finally:
                scene.change("version: 1", "version: 1 ")

        monkeypatch.setattr("proxy.reloading.asyncio.to_thread", meanwhile)
        scene.change("ttl: 5m", "ttl: 6m")
        await scene.reloading.reload()
        scene.change("ttl: 6m", "ttl: 6n")
        await scene.reloading.reload()
        assert (scene.core.policy, scene.count("taken"), scene.count("refused")) == (before, 0, 0)
        assert scene.reloading._files.changed


async def test_the_line_tells_what_came_what_went_and_what_waits(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with scene_in(tmp_path) as scene:
        scene.later = ("the routes of Envoy",)
        scene.change("      - method: GetProductBySlug\n", "      - method: GetProductBySlug\n        ttl: 1m\n")
        scene.cut("      - method: DeleteProduct", "\nevents:")
        await scene.reloading.reload()
        (record,) = [each for each in caplog.records if "the new one is in effect" in each.message]
        kinds = ("services_", "reads_", "writes_", "from_")
        told = {name: value for name, value in record.__dict__.items() if name.startswith(kinds)}
        assert told == {
            "reads_changed": ["/product.ProductService/GetProductBySlug"],
            "writes_removed": ["/product.ProductService/DeleteProduct"],
            "from_the_next_start": ["the routes of Envoy"],
        }


async def test_what_cannot_be_used_is_tried_again_though_no_file_changed_and_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene_in(tmp_path) as scene:
        tried, seconds = 0, itertools.count()  # a second passes with each look at the clock
        reloading = Reloading(
            scene.settings,
            scene.core,
            PolicyReloads(scene.registry2),
            (scene._first,),
            clock=lambda: float(next(seconds)),
        )
        real = policy_by

        def away(settings: Settings, files: Watched) -> Policy:
            nonlocal tried
            tried += 1
            if tried < 3:
                load_policy(str(tmp_path / "none"))
            return real(settings, files)

        monkeypatch.setattr("proxy.reloading.policy_by", away)
        scene.change("ttl: 5m", "ttl: 6m")
        task = asyncio.create_task(reloading.run(every=0.001))
        try:
            await until(lambda: scene.parts == ["first"], "the third attempt, which can be used")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        told = scene.registry2.get_sample_value("media_cache_policy_reloads_total", {"outcome": "refused"})
        assert (tried, told) == (3, 1)
        assert next(seconds) >= 20, "ten seconds lie between two attempts"


async def test_where_the_start_found_routes_only_the_policy_itself_is_tried(tmp_path: Path) -> None:
    scene = Scene(tmp_path, routes_of="routes-of:")
    assert not any(read.limits.ttl for read in scene.core.policy.reads.values())
    async with watching(scene):
        await until(lambda: "/product.ProductService/GetAllProducts" in scene.core.policy.reads, "the policy")
    assert scene.flushes
    await scene.core.close()
