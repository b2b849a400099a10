import pytest

from cmpi._base.frozen import frozen, replace


@frozen
class Point:
    x: int
    y: int = 0


def test_fields_come_by_position_name_and_default():
    assert Point(1) == Point(x=1, y=0) == Point(1, 0)
    assert repr(Point(1, 2)) == "Point(x=1, y=2)"


@pytest.mark.parametrize("args, kwargs", [((), {}), ((1, 2, 3), {}), ((1,), {"x": 2}), ((1,), {"z": 2})])
def test_wrong_arguments_are_refused(args, kwargs):
    with pytest.raises(TypeError):
        Point(*args, **kwargs)


def test_a_record_is_frozen_and_hashable():
    point = Point(1)
    with pytest.raises(AttributeError):
        point.x = 2
    assert hash(point) == hash(Point(1))
    assert replace(point, y=5) == Point(1, 5)


def test_records_of_other_classes_with_equal_fields_are_not_equal():
    @frozen
    class Other:
        x: int
        y: int = 0

    assert Point(1) != Other(1)
