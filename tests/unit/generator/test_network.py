"""The network: without a variance it is the plain VQGAN, with one it adds the log-variance and nothing else."""

import dataclasses

import torch

from fewgood.generator.network import LOGVAR_RANGE, Architecture, VarianceVQGAN


def pair(tiny):
    networks = []
    for variance in (False, True):
        torch.manual_seed(0)
        networks.append(VarianceVQGAN(Architecture.from_spec(tiny(variance=variance))).eval())
    return networks


def test_without_variance_the_forward_pass_is_the_plain_vqgan_bit_for_bit(tiny):
    plain, _ = pair(tiny)
    image = torch.rand(2, 3, 24, 16) * 2 - 1
    expected, loss, _ = plain.quantize(plain.quant_conv(plain.encoder(image)))
    output = plain(image, noise=torch.randn(2, 4, 6, 4))
    assert torch.equal(output.image, plain.decoder(plain.post_quant_conv(expected)))
    assert torch.equal(output.quantiser_loss, loss)
    assert output.logvar is None


def test_variance_adds_its_convolution_and_changes_no_other_weight(tiny):
    plain, variant = pair(tiny)
    shared = plain.state_dict()
    extra = set(variant.state_dict()) - set(shared)
    assert extra == {"logvar_conv.weight", "logvar_conv.bias"}
    assert all(torch.equal(value, variant.state_dict()[name]) for name, value in shared.items())


def test_variance_at_scale_zero_and_without_noise_is_the_plain_vqgan(tiny):
    plain, variant = pair(tiny)
    image = torch.rand(1, 3, 16, 16) * 2 - 1
    noise = torch.randn(1, 4, 4, 4)
    expected = plain(image).image
    assert torch.equal(variant(image).image, expected)
    assert torch.equal(variant(image, noise, scale=0.0).image, expected)


def test_the_latent_is_mean_plus_scaled_deviation(tiny):
    _, variant = pair(tiny)
    mu, logvar, noise = (
        torch.zeros(1, 4, 2, 2),
        torch.full((1, 4, 2, 2), 2 * torch.log(torch.tensor(0.5))),
        torch.ones(1),
    )
    assert torch.allclose(variant.perturb(mu, logvar, noise, 3.0), torch.full((1, 4, 2, 2), 1.5))


def test_the_log_variance_stays_in_its_range(tiny):
    _, variant = pair(tiny)
    for value in (-1e6, 1e6):
        torch.nn.init.constant_(variant.logvar_conv.bias, value)
        _, logvar = variant.encode(torch.zeros(1, 3, 16, 16))
        logvar = logvar.detach()
        assert LOGVAR_RANGE[0] <= float(logvar.min()) <= float(logvar.max()) <= LOGVAR_RANGE[1]


def test_neither_pass_touches_the_global_random_state(tiny):
    for network in pair(tiny):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        network(torch.zeros(1, 3, 16, 16), torch.zeros(1, 4, 4, 4))
        assert torch.equal(torch.get_rng_state(), before)


def test_brightness_of_a_flat_image_survives_the_encoder(tiny):
    """taming's 32 groups of one channel each would give every flat image the same latent."""
    plain, _ = pair(tiny)
    dark, light = torch.full((1, 3, 16, 16), -0.8), torch.full((1, 3, 16, 16), 0.8)
    own = (plain.encode(dark)[0] - plain.encode(light)[0]).detach().abs().max()
    assert float(own) > 1e-2
    assert {m.num_groups for m in plain.modules() if isinstance(m, torch.nn.GroupNorm)} == {4}
    taming = VarianceVQGAN(dataclasses.replace(plain.architecture, group_width=None))
    assert {m.num_groups for m in taming.modules() if isinstance(m, torch.nn.GroupNorm)} == {32}
