"""The webhook's metrics: the names that alerts and dashboards rely on."""

from proxy.injector.metrics import WebhookMetrics


def test_names_and_labels() -> None:
    metrics = WebhookMetrics()
    metrics.admissions.labels("injected", "injected").inc()
    metrics.certificate_checks.labels("failed").inc()
    metrics.admission_seconds.observe(0.002)
    lines = metrics.text().decode().splitlines()
    for line in (
        'media_cache_injector_admissions_total{reason="injected",result="injected"} 1.0',
        "media_cache_injector_certificate_expiry_timestamp_seconds 0.0",
        'media_cache_injector_certificate_checks_total{outcome="failed"} 1.0',
        "media_cache_injector_certificate_renewals_total 0.0",
        'media_cache_injector_admission_duration_seconds_bucket{le="0.0025"} 1.0',
    ):
        assert line in lines


def test_two_in_one_process_do_not_share() -> None:
    one, two = WebhookMetrics(), WebhookMetrics()
    one.certificate_renewals.inc()
    assert two.registry.get_sample_value("media_cache_injector_certificate_renewals_total") == 0.0
