"""Moments as the history writes them."""

import datetime


def moment(minutes):
    start = datetime.datetime(2026, 1, 1, 8)
    return (start + datetime.timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
