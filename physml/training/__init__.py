"""The one training loop and what it needs: `physml.training.loop.fit`.

Nothing is imported here: settings are read without torch.
"""
