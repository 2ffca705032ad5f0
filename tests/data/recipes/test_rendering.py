import numpy as np

from glide_jax.data.recipes import rendering


def test_a_reduced_picture_is_the_means_of_its_areas_and_a_small_one_stays():
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    means = image.reshape(4, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(rendering.reduce(image, 4) - means).max() <= 1
    assert rendering.reduce(image, 8) is image
