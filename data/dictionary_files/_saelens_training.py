"""Keys of SAELens' `cfg.json` that say how a dictionary was trained, and change nothing in what it computes."""

from __future__ import annotations

_WORDS = """
    act_store_device activations_mixing_fraction adam_beta1 adam_beta2 autocast autocast_lm aux_loss_coefficient
    b_dec_init_method cached_activations_path checkpoint_path compile_llm compile_sae dead_feature_estimation_method
    dead_feature_threshold dead_feature_window decoder_heuristic_init decoder_heuristic_init_norm decoder_init_norm
    decoder_orthogonal_init disable_concat_sequences eval_batch_size_prompts eval_every_n_wandb_logs
    expansion_factor feature_reinit_scale feature_sampling_method feature_sampling_window from_pretrained_path
    hook_eval init_encoder_as_decoder_transpose is_dataset_tokenized jumprelu_bandwidth jumprelu_init_threshold
    jumprelu_sparsity_loss_mode jumprelu_ste_to_input jumprelu_tanh_scale l0_coefficient l0_warm_up_steps
    l1_coefficient l1_warm_up_steps llm_compilation_mode llm_device log_activations_store_to_wandb
    log_optimizer_state_to_wandb log_to_wandb logger lp_norm lr lr_decay_steps lr_end lr_scheduler_name
    lr_warm_up_steps matryoshka_widths mse_loss_normalization n_batches_for_norm_estimate n_batches_in_buffer
    n_checkpoints n_eval_batches n_restart_cycles noise_scale normalize_sae_decoder output_path
    pre_act_loss_coefficient prefetch_llm_batches resample_batches resume resume_from_checkpoint run_name
    sae_compilation_mode save_final_checkpoint scale_sparsity_penalty_by_decoder_norm seed sequence_separator_token
    store_batch_size store_batch_size_prompts streaming target_l0 tokens_per_buffer topk_threshold_lr
    total_training_tokens train_batch_size train_batch_size_tokens training_tokens use_cached_activations
    use_chat_formatting use_ghost_grads use_matryoshka_aux_loss use_sparse_activations verbose wandb_entity wandb_id
    wandb_log_frequency wandb_project
"""
TRAINING = frozenset(_WORDS.split())
"""Of all versions from 1 to 6."""
