"""The closed sets of words that models, actions and pages share."""
