def compute_accuracy(output, target, topk=(1,)):
    """Return the top-k accuracies in percent.

    Args:
        output: logits ``[B, C]``, or a tuple or list that starts with them.
        target: labels ``[B]``.
        topk: values of k.

    Returns:
        A list of tensors ``[1]``, one a value of k.
    """
    logits = output[0] if isinstance(output, (tuple, list)) else output
    hits = logits.topk(max(topk), dim=1).indices.eq(target.unsqueeze(1))  # [B, max k]
    return [hits[:, :k].float().sum().reshape(1) * (100.0 / len(target)) for k in topk]
